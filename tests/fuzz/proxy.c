/*
 * fuzz: any bytes as the beginning of a connection with a PROXY header: nothing beyond them is read,
 * however they come in pieces the same comes out, and what is understood can be written and read again.
 */
#include "net/proxy.h"

#include "fuzz.h"

/* In memory that ends with the last byte. */
static enum proxy_state
read_exactly(const uint8_t *data, size_t n, size_t *used, struct proxy *out)
{
	char *copy = exactly(data, n);
	enum proxy_state state;

	*used = SIZE_MAX;
	state = proxy_read(copy, n, used, out);
	free(copy);
	if (state != PROXY_BAD)
		CHECK(*used <= n && *used <= PROXY_MOST);
	return state;
}

static bool
same(const struct proxy *a, const struct proxy *b)
{
	struct ip ip[2];
	uint32_t scope, port[2];

	if (a->told != b->told)
		return false;
	if (!a->told)
		return true;
	CHECK(addr_ip(&a->to, &ip[0], &scope, &port[0]) && addr_ip(&b->to, &ip[1], &scope, &port[1]));
	return a->from.kind == b->from.kind && a->from.port == b->from.port && port[0] == port[1] &&
	    memcmp(&a->from.ip, &b->from.ip, sizeof ip[0]) == 0 && memcmp(&ip[0], &ip[1], sizeof ip[0]) == 0;
}

/* As a connection's reader does it: looks, takes what belongs to the header, looks again. */
static enum proxy_state
in_pieces(const uint8_t *data, size_t size, size_t piece, size_t *taken, struct proxy *out)
{
	enum proxy_state state = PROXY_MORE;
	size_t n = 0, used;

	for (*taken = 0; state == PROXY_MORE && n < size;) {
		n = size - *taken < piece ? size : *taken + piece;
		state = read_exactly(data, n, &used, out);
		if (state == PROXY_BAD)
			break;
		CHECK(used >= *taken && (state != PROXY_MORE || used > *taken || n == size));
		*taken = used;
	}
	return state;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy once = { .told = false }, parts = { .told = false }, again = { .told = false };
	enum proxy_state state;
	size_t used, taken;

	state = read_exactly(data, size, &used, &once);
	for (size_t piece = 1; piece < 64; piece = piece * 3 + 1) {
		enum proxy_state s = in_pieces(data, size, piece, &taken, &parts);

		CHECK(size == 0 || s == state);
		if (state == PROXY_DONE)
			CHECK(taken == used && same(&once, &parts));
	}
	if (state != PROXY_DONE)
		return 0;
	/* What follows is nobody's business. */
	CHECK(read_exactly(data, used, &taken, &parts) == PROXY_DONE && taken == used && same(&once, &parts));
	if (!once.told)
		return 0;
	for (unsigned version = 1; version <= 2; version++) {
		char header[PROXY_BUILT];
		size_t n = proxy_write(version, &once.from, &once.to, header);

		CHECK(n > 0 && n <= PROXY_BUILT);
		CHECK(read_exactly((const uint8_t *)header, n, &taken, &again) == PROXY_DONE);
		CHECK(taken == n && again.told && same(&once, &again));
	}
	return 0;
}
