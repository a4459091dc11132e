/*
 * worker: the process that relays and answers the stream built-ins. It has given up what it does
 * not need, gets its connections from the master over `channel`, and ends when that is closed and
 * the last of them is over. Nothing in here runs in the master.
 */
#ifndef SERVE_WORKER_H
#define SERVE_WORKER_H

/* For helper_start: never comes back. `arg`: a struct lower, what it becomes. */
void worker_run(int channel, void *arg);

#endif
