#include "manage/page.h"

struct bars {			/* a chart in its own units */
	double step, width, height;	/* of a bar's place; of a bar; of all */
	uint64_t most;		/* what reaches the top */
};

static uint64_t
highest(const struct engine *e, const struct history *h)
{
	uint64_t most = 0;

	for (unsigned ago = 0; ago < HISTORY_SLOTS; ago++) {
		struct tally t = history_get(e, h, ago);

		if ((uint64_t)t.started + t.refused > most)
			most = (uint64_t)t.started + t.refused;
	}
	return most;
}

/* The next of 1, 2, 5, 10, 20, 50, … */
static uint64_t
round_up(uint64_t n)
{
	uint64_t top = 1;

	for (unsigned i = 0; top < n; i++)
		top = i % 3 == 1 ? top / 2 * 5 : top * 2;
	return top;
}

/* One path for all bars of a kind; those that were refused stand on those that were served. */
static void
add_bars(struct buf *b, const struct engine *e, const struct history *h, const struct bars *how, bool refused)
{
	size_t from = b->len;

	for (unsigned i = 0; i < HISTORY_SLOTS; i++) {
		struct tally t = history_get(e, h, HISTORY_SLOTS - 1 - i);
		double n = refused ? t.refused : t.started, under = refused ? t.started : 0;
		double high = n * how->height / (double)how->most;

		if (n == 0)
			continue;
		if (high < how->height / 50)
			high = how->height / 50;	/* one of many is to be seen */
		if (b->len == from)
			buf_addf(b, "<path class=%s d=\"", refused ? "kept" : "came");
		buf_addf(b, "M%.4g %.4gv-%.4gh%.4gv%.4gz", i * how->step + (how->step - how->width) / 2,
		    how->height - under * how->height / (double)how->most, high, how->width, high);
	}
	if (b->len > from)
		buf_text(b, "\"/>");
}

/* N in an interval, as a rate. */
static void
add_rate(struct buf *b, uint64_t n)
{
	uint64_t tenths = n * 10000 / HISTORY_INTERVAL;

	buf_number(b, tenths / 10);
	if (tenths % 10 != 0)
		buf_addf(b, ".%u", (unsigned)(tenths % 10));
	buf_text(b, "/s");
}

void
page_chart(struct buf *b, const struct engine *e)
{
	struct bars how = { .step = 10, .width = 7, .height = 100, .most = round_up(highest(e, e->history)) };
	uint64_t started, refused;

	history_sums(e, e->history, &started, &refused);
	buf_addf(b, "<figure class=card><figcaption><h2>Last %d minutes</h2><div class=key><span>served</span>"
	    "<span class=off>refused</span></div></figcaption><div class=plot><div class=scale aria-hidden=true><span>",
	    HISTORY_SLOTS * HISTORY_INTERVAL / 60000);
	add_rate(b, how.most);
	buf_addf(b, "</span><span>0</span></div><svg viewBox=\"0 0 %d 100\" preserveAspectRatio=none role=img "
	    "aria-labelledby=\"ct cd\"><title id=ct>Connections in the last %d minutes</title><desc id=cd>",
	    HISTORY_SLOTS * 10, HISTORY_SLOTS * HISTORY_INTERVAL / 60000);
	buf_addf(b, "%llu served, %llu refused; at most ", (unsigned long long)started, (unsigned long long)refused);
	add_rate(b, highest(e, e->history));
	buf_addf(b, "</desc><path class=grid d=\"M0 .5H%d M0 50H%d M0 99.5H%d\"/>", HISTORY_SLOTS * 10, HISTORY_SLOTS * 10,
	    HISTORY_SLOTS * 10);
	add_bars(b, e, e->history, &how, false);
	add_bars(b, e, e->history, &how, true);
	buf_addf(b, "</svg><div class=ends aria-hidden=true><span>%d min ago</span><span>now</span></div></div></figure>\n",
	    HISTORY_SLOTS * HISTORY_INTERVAL / 60000);
}

void
page_spark(struct buf *b, const struct engine *e, const struct history *h)
{
	struct bars how = { .step = 2, .width = 1.4, .height = 24, .most = highest(e, h) };
	uint64_t started, refused;

	if (how.most == 0) {
		buf_text(b, "<td role=cell class=none></td>");
		return;
	}
	history_sums(e, h, &started, &refused);
	buf_addf(b, "<td role=cell class=spark data-label=\"Last %d min\"><svg viewBox=\"0 0 %d 24\" preserveAspectRatio=none role=img>"
	    "<title>%llu served, %llu refused in the last %d minutes</title><path class=grid d=\"M0 24H%d\"/>",
	    HISTORY_SLOTS * HISTORY_INTERVAL / 60000, HISTORY_SLOTS * 2, (unsigned long long)started,
	    (unsigned long long)refused, HISTORY_SLOTS * HISTORY_INTERVAL / 60000, HISTORY_SLOTS * 2);
	add_bars(b, e, h, &how, false);
	add_bars(b, e, h, &how, true);
	buf_text(b, "</svg></td>");
}
