/* carry_parts: what those who write the records of serve/carry and those who read them agree on. */
#ifndef SERVE_CARRY_PARTS_H
#define SERVE_CARRY_PARTS_H

enum { LOGS_MOST = 4 };
#define LOG_NAMES { "log", "log2", "log3", "log4" }

#endif
