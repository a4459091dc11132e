/* queue: how much waits at a listening socket or in a FIFO. */
#ifndef NET_QUEUE_H
#define NET_QUEUE_H

/*
 * Connections that wait to be accepted; of a FIFO (type 0) bytes. -1: the kernel does not say (UNIX
 * sockets without sock_diag(7), vsock).
 */
int queue_length(int fd, int type);

#endif
