/*
 * fuzz: any bytes as a request: nothing beyond them is read, what was no request stays none when more
 * comes, and what is understood lies within the bytes.
 */
#include "manage/escape.h"
#include "manage/http.h"

#include "fuzz.h"

static void
check_within(const char *p, size_t n, const char *bytes, size_t size)
{
	/* A path that was not said is one of the program's own. */
	CHECK(p == NULL || (n == 1 && p[0] == '/') || (p >= bytes && n <= size && p + n <= bytes + size));
}

static int
parse_exactly(const uint8_t *data, size_t n)
{
	char *copy = exactly(data, n);
	struct request r;
	int status;

	status = http_parse(copy, n, &r);
	CHECK(status == 0 || status == 200 || status == 400 || status == 414 || status == 431 || status == 505);
	if (status == 200 && r.get) {
		CHECK(r.path != NULL && r.path_len > 0 && r.path[0] == '/');
		CHECK(memchr(r.path, '?', r.path_len) == NULL && memchr(r.path, ' ', r.path_len) == NULL);
		check_within(r.path, r.path_len, copy, n);
		check_within(r.query, r.query_len, copy, n);
		check_within(r.host, r.host_len, copy, n);
	}
	free(copy);
	return status;
}

/* What is written of any text: no byte that could end it. */
static void
check_escapes(const uint8_t *data, size_t size)
{
	char *text = strndup(size > 0 ? (const char *)data : "", size);
	struct buf json = { 0 }, html = { 0 }, label = { 0 };

	CHECK(text != NULL);
	add_json(&json, text);
	add_html(&html, text);
	add_label(&label, text);
	CHECK(json.len >= 2 && json.data[0] == '"' && json.data[json.len - 1] == '"');
	for (size_t i = 1; i + 1 < json.len; i++) {
		CHECK((unsigned char)json.data[i] >= 0x20 && json.data[i] != '"');
		i += json.data[i] == '\\';
	}
	CHECK(html.len == 0 || (memchr(html.data, '<', html.len) == NULL && memchr(html.data, '"', html.len) == NULL));
	for (size_t i = 0; i < label.len; i++) {
		CHECK(label.data[i] != '"' && label.data[i] != '\n');
		i += label.data[i] == '\\';
	}
	buf_free(&json);
	buf_free(&html);
	buf_free(&label);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int whole = parse_exactly(data, size), part = 0;

	for (size_t n = 0; n < size && part == 0; n++)
		part = parse_exactly(data, n);
	CHECK(part == 0 || part == whole);
	check_escapes(data, size);
	return 0;
}
