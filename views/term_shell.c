/* A command of the shell on the terminal that the screen has given back. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "views/term_internal.h"

static void become_shell(const char *command)
{
    setpgid(0, 0);
    tcsetpgrp(STDIN_FILENO, getpid());
    dup2(STDOUT_FILENO, STDERR_FILENO); /* ours goes into memory */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTTOU, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void wait_for_enter(void)
{
    static const char note[] = "hoplab: Enter goes back to the screen\r\n";
    char c = 0;
    ssize_t n = write(STDOUT_FILENO, note, sizeof note - 1);
    while (n > 0 && c != '\n' && c != '\r')
        n = read(STDIN_FILENO, &c, 1); /* a signal ends it, too */
}

/* A group of its own: Ctrl-C there is not for the screen. What is stopped there goes on at once,
 * for there is no shell that could wake it. */
int hl_term_run_shell(const char *command)
{
    static const int ignored[] = {SIGTTOU, SIGINT, SIGQUIT};
    enum { N = sizeof ignored / sizeof ignored[0] };
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before[N];
    int status = -1;
    for (int i = 0; i < N; i++)
        sigaction(ignored[i], &ignore, &before[i]);
    const pid_t pid = fork();
    if (pid == 0)
        become_shell(command);
    if (pid > 0) {
        setpgid(pid, pid);
        tcsetpgrp(STDIN_FILENO, pid);
        pid_t got;
        while ((got = waitpid(pid, &status, WUNTRACED)) == pid ? WIFSTOPPED(status)
                                                               : got < 0 && errno == EINTR)
            if (got == pid)
                kill(-pid, SIGCONT);
        tcsetpgrp(STDIN_FILENO, getpgrp());
        wait_for_enter();
    }
    for (int i = 0; i < N; i++)
        sigaction(ignored[i], &before[i], NULL);
    return pid > 0 ? status : -1;
}
