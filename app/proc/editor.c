#define _GNU_SOURCE
#include "app/proc/editor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *name_of_editor(void)
{
    static const char *const variables[] = {"VISUAL", "EDITOR"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return value;
    }
    return "vi";
}

/* In the child. The variable may hold arguments, so a shell takes it apart. */
static void become(const char *editor, const char *path)
{
    sigset_t none;
    char command[1024];
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(STDOUT_FILENO, STDERR_FILENO); /* this process keeps what libraries say for itself */
    snprintf(command, sizeof command, "exec %.1000s \"$1\"", editor);
    execl("/bin/sh", "sh", "-c", command, "sh", path, (char *)NULL);
    _exit(127);
}

hl_status hl_editor_run(const char *path)
{
    const char *editor = name_of_editor();
    int status = 0;
    const pid_t pid = fork();
    if (pid < 0)
        return hl_err_set(HL_E_IO, "cannot start %s: %s", editor, strerror(errno));
    if (pid == 0)
        become(editor, path);
    while (waitpid(pid, &status, WUNTRACED) < 0 || WIFSTOPPED(status)) {
        if (WIFSTOPPED(status))
            kill(pid, SIGCONT);
        else if (errno != EINTR)
            return hl_err_set(HL_E_IO, "cannot wait for %s: %s", editor, strerror(errno));
        status = 0;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return hl_err_set(HL_E_IO, "there is no editor '%s'; set VISUAL or EDITOR", editor);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return hl_err_set(HL_E_IO, "%s ended badly; nothing was taken over", editor);
    return HL_OK;
}
