/* A build without libcurl. */
#include "data/fetch/transfer.h"

bool hl_transfer_is_built_in(void)
{
    return false;
}

hl_status hl_transfer_run(hl_transfer *t)
{
    t->end = HL_TRANSFER_FATAL;
    return hl_err_set(HL_E_UNSUPPORTED, "this build has no libcurl");
}
