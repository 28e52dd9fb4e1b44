/*
 * catalog_priv.h - the catalog's definition as SQL text, apart from the code that uses it.
 */
#ifndef AMBER_CATALOG_PRIV_H
#define AMBER_CATALOG_PRIV_H

#define AMBER_CATALOG_VERSION 2

/* Statements that make the tables in an existing schema amberfs. */
extern const char amber_catalog_tables_sql[];
/* What version 2 added to version 1: the queue of the replicas. */
extern const char amber_catalog_replicas_sql[];
/* Statements that make the views in schema public. */
extern const char amber_catalog_views_sql[];

#endif
