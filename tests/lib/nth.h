/*
 * nth.h - make the n-th call of a kind fail: the one seam of all sweeps "fail the n-th, for n = 1..
 * until nothing fails any more".
 *
 * The linker's --wrap puts nth_alloc.c and nth_calls.c before the C library, libpq and the store,
 * in our own objects (jansson's allocations come through ours and are counted too). A unit test
 * says what fails by nth_arm. The program amberfs_nth (tests/fault/meson.build) is told by its
 * environment:
 *
 *   AMBERFS_NTH=KIND:N[+]   alloc, store, lost (the connection breaks at this call), refused (the
 *                           server refuses this statement), thread; "+": all later ones too; N 0:
 *                           none
 *   AMBERFS_NTH_LOG=FILE    gets "struck", if something failed, and the number of calls
 *
 * Which thread makes the n-th call is left to chance.
 */
#ifndef NTH_H
#define NTH_H

#include <stdbool.h>

enum nth_kind { NTH_ALLOC, NTH_STORE, NTH_LOST, NTH_REFUSED, NTH_THREAD, NTH_KINDS };

/* From now on the n-th call of this kind fails, and with on all behind it; n 0: none. The counting
 * starts anew. */
void nth_arm(enum nth_kind kind, unsigned long n, bool on);
/* Calls of the armed kind since. */
unsigned long nth_calls(void);
/* Count a call; whether it is to fail. For the wrappers. */
bool nth_fails(enum nth_kind kind);

#endif
