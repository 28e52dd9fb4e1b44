/*
 * s3_xml.c - the XML that S3 answers with, read by expat.
 */
#include "s3_xml_priv.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <expat.h>

#include "amber/mem.h"

#define PATH_BYTES 256

struct xml {
    XML_Parser parser;
    enum amber_rc (*each)(void *arg, const char *path, char *text, struct amber_err *err);
    void *arg;
    struct amber_err *err; /* set: the reading was ended */
    unsigned depth;
    size_t path_len[S3_XML_DEPTH_MAX + 1]; /* at each depth */
    char path[PATH_BYTES];
    struct amber_buf text; /* of the innermost element that is open */
};

static void end(struct xml *x)
{
    (void)XML_StopParser(x->parser, XML_FALSE);
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct xml *x = arg;
    const char *colon = strrchr(name, ':');
    size_t at = x->path_len[x->depth];

    (void)attributes;
    if (x->err->code)
        return;
    if (colon)
        name = colon + 1;
    size_t len = strlen(name) + (at > 0);
    if (x->depth == S3_XML_DEPTH_MAX || at + len >= sizeof(x->path)) {
        amber_fail(x->err, AMBER_E_CORRUPT, "its elements are nested too deeply");
        end(x);
        return;
    }
    snprintf(x->path + at, sizeof(x->path) - at, "%s%s", at > 0 ? "/" : "", name);
    x->path_len[++x->depth] = at + len;
    x->text.len = 0;
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct xml *x = arg;

    (void)name;
    if (x->err->code)
        return;
    if (x->text.data)
        x->text.data[x->text.len] = '\0';
    char none[1] = "";
    if (x->each(x->arg, x->path, x->text.data ? x->text.data : none, x->err)) {
        end(x);
        return;
    }
    x->path[x->path_len[--x->depth]] = '\0';
    x->text.len = 0;
}

static void XMLCALL on_text(void *arg, const XML_Char *s, int len)
{
    struct xml *x = arg;

    if (x->err->code)
        return;
    enum amber_rc rc = amber_buf_append(&x->text, s, (size_t)len, x->err);
    if (rc == AMBER_E_LIMIT) {
        x->err->code = AMBER_OK;
        amber_fail(x->err, AMBER_E_CORRUPT, "the text of %s is too long", x->path);
    }
    if (rc)
        end(x);
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
                               const XML_Char *public_id, int internal)
{
    struct xml *x = arg;

    (void)name;
    (void)system_id;
    (void)public_id;
    (void)internal;
    amber_fail(x->err, AMBER_E_CORRUPT, "it has a document type, which S3 never sends");
    end(x);
}

enum amber_rc amber_s3_xml_read(const char *data, size_t len,
                                enum amber_rc (*each)(void *arg, const char *path, char *text,
                                                      struct amber_err *err),
                                void *arg, struct amber_err *err)
{
    struct amber_err fault = AMBER_ERR_INIT;
    struct xml x = {.each = each, .arg = arg, .err = &fault};

    if (len > INT_MAX)
        return amber_fail(err, AMBER_E_LIMIT, "an answer of %zu bytes", len);
    x.parser = XML_ParserCreate(NULL);
    if (!x.parser)
        return amber_fail_nomem(err, "an XML parser", 0);
    amber_buf_init(&x.text, S3_XML_TEXT_MAX);
    XML_SetUserData(x.parser, &x);
    XML_SetElementHandler(x.parser, on_start, on_end);
    XML_SetCharacterDataHandler(x.parser, on_text);
    XML_SetStartDoctypeDeclHandler(x.parser, on_doctype);
    if (XML_Parse(x.parser, data, (int)len, 1) == XML_STATUS_ERROR && !fault.code) {
        enum XML_Error code = XML_GetErrorCode(x.parser);
        if (code == XML_ERROR_NO_MEMORY)
            amber_fail_nomem(&fault, "an XML document", len);
        else
            amber_fail(&fault, AMBER_E_CORRUPT, "line %lu: %s",
                       (unsigned long)XML_GetCurrentLineNumber(x.parser), XML_ErrorString(code));
    }
    XML_ParserFree(x.parser);
    amber_buf_clear(&x.text);
    if (!fault.code)
        return AMBER_OK;
    *err = fault;
    return fault.code == AMBER_E_CORRUPT ? amber_wrap(err, "the server's answer is no XML of S3")
                                         : fault.code;
}

struct fields {
    const struct s3_xml_field *items;
    size_t n;
};

static enum amber_rc each_field(void *arg, const char *path, char *text, struct amber_err *err)
{
    const struct fields *f = arg;

    (void)err;
    for (size_t i = 0; i < f->n; i++)
        if (!f->items[i].out[0] && strcmp(f->items[i].path, path) == 0)
            snprintf(f->items[i].out, f->items[i].cap, "%s", text);
    return AMBER_OK;
}

enum amber_rc amber_s3_xml_fields(const char *data, size_t len, const struct s3_xml_field *fields,
                                  size_t n, struct amber_err *err)
{
    struct fields f = {.items = fields, .n = n};

    for (size_t i = 0; i < n; i++)
        fields[i].out[0] = '\0';
    return amber_s3_xml_read(data, len, each_field, &f, err);
}
