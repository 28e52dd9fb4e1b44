/*
 * s3_xml_priv.h - the XML that S3 answers with, as texts at paths.
 *
 * Only what S3 needs: elements and their text. A document type is refused (it could define
 * entities that grow without bound), and so are nesting and texts past the limits below.
 */
#ifndef AMBER_S3_XML_PRIV_H
#define AMBER_S3_XML_PRIV_H

#include "amber/err.h"

#define S3_XML_DEPTH_MAX 8
#define S3_XML_TEXT_MAX 8192 /* bytes of one element's text */

/*
 * Read a document. each is called when an element ends: path is the names of the elements from the
 * root on, without namespaces ("ListBucketResult/Contents/Key"), text what stood in it directly
 * (NUL-terminated, changeable, valid during the call). A failure of each ends the reading.
 * errors  CORRUPT no such XML, with the line; those of each; NOMEM
 */
enum amber_rc amber_s3_xml_read(const char *data, size_t len,
                                enum amber_rc (*each)(void *arg, const char *path, char *text,
                                                      struct amber_err *err),
                                void *arg, struct amber_err *err) AMBER_MUST_CHECK;

/* One text that is wanted: where it stands and where it goes. */
struct s3_xml_field {
    const char *path;
    char *out; /* cap bytes; a longer text is cut. Set to "" first */
    size_t cap;
};
/* Read the first text at each of the paths. errors as above. */
enum amber_rc amber_s3_xml_fields(const char *data, size_t len, const struct s3_xml_field *fields,
                                  size_t n, struct amber_err *err) AMBER_MUST_CHECK;

#endif
