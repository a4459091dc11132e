/* fits: what goes together, of a service's attributes and of what its addresses are. */
#ifndef TABLE_FITS_H
#define TABLE_FITS_H

#include "table/attr.h"

/*
 * An attribute of the service's own that cannot hold there is a fault; one that only defaults say
 * means those services that can. -1: err.
 */
int fits_check(struct service *s, attr_note *note, void *arg, struct err *err);

#endif
