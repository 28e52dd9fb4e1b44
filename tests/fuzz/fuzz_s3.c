/*
 * fuzz_s3.c - what an S3 server, a credential service and Amazon's shared files may hold.
 *
 * The first byte says which parser gets the rest. Promised: a failure is said, texts fit their
 * fields and end, what was decoded comes back from its encoded form.
 *
 * In the ordinary run replay.c feeds it the inputs of corpus/s3.
 */
#include "fuzz.h"

#include "s3_credentials_priv.h"
#include "s3_url_priv.h"
#include "s3_xml_priv.h"

static enum amber_rc each(void *arg, const char *path, char *text, struct amber_err *err)
{
    (void)arg;
    check(strlen(path) < 256);
    check(strlen(text) <= S3_XML_TEXT_MAX);
    return strcmp(text, "stop") == 0 ? amber_fail(err, AMBER_E_CANCELED, "stop") : AMBER_OK;
}

static void xml(const char *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    char code[16];
    const struct s3_xml_field field = {"Error/Code", code, sizeof(code)};

    if (amber_s3_xml_read(data, len, each, NULL, &err))
        check(err.code != AMBER_OK && err.text[0]);
    err = (struct amber_err)AMBER_ERR_INIT;
    if (!amber_s3_xml_fields(data, len, &field, 1, &err))
        check(strlen(code) < sizeof(code));
}

static void profile(const char *data, size_t len)
{
    static struct s3_profile p;
    struct amber_err err = AMBER_ERR_INIT;
    bool found;

    memset(&p, 0, sizeof(p));
    if (amber_s3_profile_parse(data, len, "default", &p, &found, &err))
        check(err.text[0]);
    check(memchr(p.access_key, '\0', sizeof(p.access_key)) != NULL);
    check(memchr(p.secret_key, '\0', sizeof(p.secret_key)) != NULL);
    check(memchr(p.token, '\0', sizeof(p.token)) != NULL);
    check(found || !p.access_key[0]);
}

static void role(const char *data, size_t len)
{
    static struct s3_credentials c;
    struct amber_err err = AMBER_ERR_INIT;

    memset(&c, 0, sizeof(c));
    if (!amber_s3_role_parse(data, len, &c, &err)) {
        check(c.access_key[0] && c.secret_key[0]);
        check(!strpbrk(c.access_key, "\r\n") && !strpbrk(c.token, "\r\n"));
    }
}

static void url(const char *data, size_t len)
{
    struct amber_err err = AMBER_ERR_INIT;
    struct amber_buf once AMBER_AUTO_BUF = AMBER_BUF_INIT(1U << 20);
    AMBER_AUTO_FREE char *text = strndup(data, len), *origin = NULL, *host = NULL;

    if (!text)
        return;
    if (!amber_s3_endpoint_parse("X", text, &origin, &host, &err))
        check(host[0] && strstr(origin, host));
    if (!amber_s3_decode(text))
        return;
    check(!amber_s3_encode(&once, text, true, &err));
    if (!once.data)
        return;
    check(amber_s3_decode(once.data));
    check(strcmp(once.data, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parsers[])(const char *, size_t) = {xml, profile, role, url};

    if (size > 0)
        parsers[data[0] % amber_countof(parsers)]((const char *)data + 1, size - 1);
    return 0;
}
