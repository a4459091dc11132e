/* accept: connections, as they come: admitted, refused or left in the kernel's queue. */
#ifndef SERVE_ACCEPT_H
#define SERVE_ACCEPT_H

#include "serve/listener.h"

listener_take accept_take;

#endif
