-- Tables with values of every type, and queries that describe them, for row_vs_postgres.c.
-- A table whose comment is 'plain' must not need an overlay.
set client_min_messages = warning; -- notices about empty text searches
set timezone = 'UTC';
create extension hstore;
create schema rt;
create schema back;
set search_path = rt, public;

-- ---- what the driver asks -----------------------------------------------------------------

-- A type as amber_schema_parse takes it, by the rules of json_categorize_type.
create function type_json(t oid) returns jsonb language plpgsql as $$
declare
    ty pg_type;
begin
    select * into ty from pg_type where oid = t;
    while ty.typtype = 'd' loop
        select * into ty from pg_type where oid = ty.typbasetype;
    end loop;
    return jsonb_strip_nulls(jsonb_build_object(
        'type', format_type(t, null),
        'kind', case
            when ty.oid = 16 then 'bool'
            when ty.oid in (20, 21, 23, 700, 701, 1700) then 'number'
            when ty.oid in (114, 3802) then 'json'
            when ty.oid = 1082 then 'date'
            when ty.oid = 1114 then 'timestamp'
            when ty.oid = 1184 then 'timestamptz'
            when ty.oid in (22, 30) then 'vector'
            when ty.typsubscript = 'array_subscript_handler'::regproc then 'array'
            when ty.typtype = 'c' then 'composite'
            when ty.typname = 'hstore' then 'hstore'
            when ty.oid >= 16384 and exists (select from pg_cast where castsource = ty.oid
                and casttarget = 114 and castmethod = 'f') then 'server'
            else 'text' end,
        'delim', case when ty.typsubscript = 'array_subscript_handler'::regproc
            then (select e.typdelim::text from pg_type e where e.oid = ty.typelem) end,
        'element', case when ty.typsubscript = 'array_subscript_handler'::regproc
            then rt.type_json(ty.typelem) end,
        'fields', case when ty.typtype = 'c' then
            (select coalesce(jsonb_agg(jsonb_build_object('name', attname) || rt.type_json(atttypid)
                                       order by attnum), '[]')
             from pg_attribute where attrelid = ty.typrelid and attnum > 0 and not attisdropped)
            end));
end $$;

create function schema_json(tab regclass) returns text language sql as $$
    select coalesce(jsonb_agg(jsonb_build_object('name', attname) || rt.type_json(atttypid)
                              order by attnum), '[]')::text
    from pg_attribute where attrelid = tab and attnum > 0 and not attisdropped $$;

-- The fields as an export sends them, and behind them what row_to_json makes of the row.
create function copy_sql(tab regclass) returns text language sql as $$
    select format('copy (select %s from %s whole_row) to stdout',
        coalesce(string_agg(format('whole_row.%I', attname) || case
            when rt.type_json(atttypid) ->> 'kind' = 'server'
            then format(', to_json(whole_row.%I)', attname) else '' end, ', ' order by attnum), '')
        || case when count(*) > 0 then ', ' else '' end || 'row_to_json(whole_row)::text', tab)
    from pg_attribute where attrelid = tab and attnum > 0 and not attisdropped $$;

-- ---- types --------------------------------------------------------------------------------

create type mood as enum ('sad', 'ok', 'very "happy"', 'a,b', '{}', 'NULL', 'back\slash', 'é 😀');
create domain posint as int check (value > 0);
create domain words as text[];
create domain label as text;
create type pair as (a int, b text);
create type nest as (p pair, l text[], j jsonb, ts timestamptz, "odd ""name""" numeric, e mood);
create domain dpair as pair;
create type lonely as (only_one text);
create type empty_type as ();
create type shrunk as (a int, gone text, c text);
alter type shrunk drop attribute gone;
create type textrange as range (subtype = text);
create type pairs as (list pair[], h hstore, n nest);
create type coded as enum ('x', 'y z');
create function coded_json(coded) returns json language sql immutable as
    $$ select case $1 when 'x' then E'{"code":\n1}' else '[2]' end::json $$;
create cast (coded as json) with function coded_json(coded);

create function every_char() returns text language sql as $$
    select string_agg(chr(i), '' order by i) from generate_series(1, 255) i $$;

-- ---- one table a kind ---------------------------------------------------------------------

create table numbers (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(12,6));
insert into numbers values
    (-32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 'NaN', 'NaN'),
    (32767, 2147483647, 9223372036854775807, 'Infinity', '-Infinity', 'Infinity', 0),
    (0, 0, 0, '-0', '-0', '-Infinity', -0.000001),
    (null, null, null, null, null, null, null),
    (1, 1, 1, 1e-45, 5e-324, ('1' || repeat('0123456789', 100))::numeric, 123456.123456),
    (1, 1, 1, 3.4028235e38, 1.7976931348623157e308, ('-0.' || repeat('9876543210', 100))::numeric, 1),
    (1, 1, 1, 0.1, 0.1, 1e-1000, 1), (1, 1, 1, 1e10, 1e16, 1.000, 1.5),
    (1, 1, 1, 1e-7, 123456789012345678, 1e300, 1);
comment on table numbers is 'plain';

create table bools (b bool, c bool not null);
insert into bools values (true, false), (null, true), (false, true);
comment on table bools is 'plain';

create table texts (t text, v varchar(40), c char(5), n name, ch "char", l label);
insert into texts values ('', '', '', '', '', ''), (null, null, null, null, null, null),
    (every_char(), 'tab	and \ and "', 'ab', 'Name "x"', 'x', 'l'),
    ('\N', '\\N', '\.', '\t', '\', '\\'), (E'line\nbreak\r\n', E'\v\f\b', E'\t', E'\n', E'\t', E'\\n'),
    ('emoji 😀 é ñ 漢字', '😀', '😀', '😀', 'q', '"');
insert into texts select repeat(chr(i), n), chr(i), chr(i), chr(i), null, chr(i) || repeat('x', n)
    from generate_series(1, 127) i, generate_series(1, 40, 3) n;
comment on table texts is 'plain';

create table large (t text, j json);
insert into large values (repeat(every_char(), 20000), to_json(repeat(every_char(), 20000)));
insert into large values (repeat('x', 3000000), ('[' || repeat('{"a":[1,2,"x"]},', 100000) || '1]')::json);
comment on table large is 'plain';

create table binary_things (b bytea, u uuid, bits bit(3), vb varbit, x xml, m money);
insert into binary_things values ('', '00000000-0000-0000-0000-000000000000', '101', '', '', 0),
    (decode('00ff5c0a22275c4e', 'hex'), gen_random_uuid(), '000', '0110', '<a b="c">&lt;	\n</a>', -92233720368547758.08),
    (null, null, null, null, null, null), (null, null, null, null, E'<a>\n</a>', 1234567.89);
comment on table binary_things is 'plain';

create table jsons (j json, b jsonb);
insert into jsons values ('{"a":1,"a":2, "b" : [ ] }', '{"b": [1, 2.50, {"c": null}], "a": "\"\\/\n"}'),
    (null, null), ('"\u0000 \ud800 \/ é"', '"😀 \u0041"'), ('123456789012345678901234567890.5e-7', '1e1000'),
    ('[[[[[[[[[[]]]]]]]]]]', '[[[[[[[[[[[]]]]]]]]]]]'), ('-0', '-0'), ('1E5', '1.00'),
    ('true', 'false'), ('""', '{}'), (E'[\t1\t,\t2]', '[]');
comment on table jsons is 'plain';
create table odd_jsons (j json, b jsonb);
insert into odd_jsons values ('null', 'null'), (' null ', null), (null, 'null'),
    (E'{\n  "a": 1,\r\n  "b": [\n]\n}', '{"a": 1}'), (' 1', '1'), (E'1\t', '1'), (E'\n"x"\n', '1'),
    (E'["null",\n null]', '[null]');
insert into odd_jsons values ((repeat('[', 3000) || repeat(']', 3000))::json, (repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb);

create table times (d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval);
insert into times values ('infinity', '00:00', '00:00+00', 'infinity', 'infinity', '0'),
    ('-infinity', '24:00', '23:59:59.999999-15:59', '-infinity', '-infinity', '-178000000 years'),
    ('4713-01-01 BC', '12:34:56.789', '12:34:56.789+05:30', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '1 year -2 mons 3 days -04:05:06.789'),
    ('5874897-12-31', '00:00:00.000001', '00:00:00.000001+00', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '178000000 years'),
    ('0001-01-01', '01:02', '01:02+01', '0044-03-15 12:00:00.5 BC', '0044-03-15 12:00:00.5+00 BC', '1 mon'),
    ('2024-02-29', '01:02', '01:02:03+01:02:03', '2024-02-29 23:59:60', '1850-01-01 00:00:00 Europe/Amsterdam', '-00:00:00.000001'),
    ('10000-01-01', null, null, '10000-01-01 00:00:00', '12345-06-07 08:09:10.11+00', null),
    (null, null, null, null, null, null);
comment on table times is 'plain';

create table nets (i inet, c cidr, m macaddr, m8 macaddr8);
insert into nets values ('192.168.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'),
    ('::1/64', '2001:db8::/32', null, null), ('::ffff:1.2.3.4', '::/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00'),
    (null, null, null, null);
comment on table nets is 'plain';

create table shapes (p point, l line, s lseg, b box, pa path, po polygon, c circle);
insert into shapes values ('(1,2)', '{1,2,3}', '[(1,2),(3,4)]', '((1,2),(3,4))', '[(1,2),(3,4)]', '((1,2),(3,4))', '<(1,2),3>'),
    ('(NaN,Infinity)', '{0.1,-2,1e-300}', '[(-0,1e300),(3,4)]', '((-1e-7,2),(3,4))', '((1,2),(3,4))', '((1,2))', '<(0.1,2),Infinity>'),
    (null, null, null, null, null, null, null);
comment on table shapes is 'plain';

create table searches (v tsvector, q tsquery);
insert into searches values (E'''it''''s'':1A,3 \\\\back "quote" tab\t:2B', E'''a b'' & !(c:*AB | "d")'), ('', ''),
    (null, null), (to_tsvector('english', 'The quick brown fox''s "dog"'), to_tsquery('simple', 'a <-> b'));
comment on table searches is 'plain';

create table system_things (o oid, r regclass, rp regproc, rt regtype, ro regrole, lsn pg_lsn, iv int2vector, ov oidvector, t tid, x xid, x8 xid8, ci cid, sn pg_snapshot, jp jsonpath);
insert into system_things values (0, 'pg_class', 'now', 'text', 'postgres', '0/0', '', '', '(0,0)', '0', '0', '0', '1:1:', '$'),
    (4294967295, 'rt.texts', 'pg_catalog.now', 'rt.mood', 0, 'FFFFFFFF/FFFFFFFF', '1 -2 3', '23 25 4294967295', '(4294967295,65535)', '4294967295', '18446744073709551615', '7', '10:20:10,14,15', '$."a b"[*] ? (@ > 1)'),
    (null, null, null, null, null, null, null, null, null, null, null, null, null, null);
comment on table system_things is 'plain';

create table ranges (i int4range, n numrange, t tsrange, tz tstzrange, d daterange, x textrange, im int4multirange, tm tstzmultirange, xm textmultirange);
insert into ranges values ('[1,5)', '(,1.5]', '[2024-01-01 00:00,infinity]', '(2024-01-01 00:00:00+00,)', '[2024-01-01,)', textrange('a "b"', 'c,d\'), '{[1,3),[5,6)}', '{[2024-01-01 00:00:00+00,2025-01-01 00:00:00+00)}', textmultirange(textrange('', 'a'), textrange('a b', null))),
    ('empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}', '{}'), (null, null, null, null, null, null, null, null, null);
comment on table ranges is 'plain';

create table user_types (m mood, p posint, w words, l label, c coded, c2 coded);
insert into user_types select m, 1, array[m::text], m::text, 'x', 'y z' from unnest(enum_range(null::mood)) m;
insert into user_types values (null, null, null, null, null, 'x'), (null, null, null, null, 'y z', null);

create table hstores (h hstore);
insert into hstores values (''), (null), ('a=>1, b=>NULL, "c d"=>"NULL", ""=>"", "q\"b\\s"=>"x,y=>z"'),
    (hstore(every_char(), every_char())), (hstore('é😀', E'\n\t'));
comment on table hstores is 'plain';

create table arrays (i int[], t text[], b bool[], f float8[], ts timestamptz[], d date[], m mood[], u uuid[], by bytea[], bx box[], iv interval[], r textrange[], n numeric[], hs hstore[]);
insert into arrays values ('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
    (null, null, null, null, null, null, null, null, null, null, null, null, null, null),
    ('{1,NULL,-3}', array['', 'NULL', null, 'null', 'a,b', '{}', '"', '\', ' ', every_char(), 'plain', '😀'], '{t,f,NULL}',
     '{NaN,Infinity,-Infinity,-0,1e-300,NULL}', '{infinity,2024-01-01 00:00:00+00,0044-03-15 00:00:00+00 BC,NULL}', '{infinity,2024-01-01,0044-03-15 BC}',
     enum_range(null::mood), array[gen_random_uuid()], array['\x00ff'::bytea, '', null], array['((1,2),(3,4))'::box, null, '((0,0),(1,1))'],
     '{1 year,-00:00:01,NULL}', array[textrange('a "b"', 'c,d\'), 'empty', null], '{NaN,1.50,1e100}', array['a=>1, "b\"c"=>NULL'::hstore, '', null]),
    ('{{1,2},{3,4}}', '{{a,b},{NULL,"c d"}}', '{{t},{f}}', '{{1.5},{NaN}}', null, null, null, null, null, '{{(1,1),(0,0);(2,2),(1,1)};{(1,1),(0,0);NULL}}', null, null, '{{{{{{1}}}}}}', null),
    ('{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}');
comment on table arrays is 'plain';
create table odd_arrays (i int[], t text[][], j json[], jb jsonb[], iv int2vector[]);
insert into odd_arrays values ('[0:1]={1,2}', '[-1:0][5:6]={{a,b},{c,d}}', array['[1, 2]'::json, '{"a":[1]}', '"x"', '1', null], array['{"a": [1, "}"]}'::jsonb, '[]', 'true'], array['1 2'::int2vector, '', null]),
    ('[2:2]={NULL}', null, array[' 1'::json, 'null', E'[\n1]'], array['null'::jsonb, null], null),
    ('{}', null, '{{1,2},{3,"[4]"}}', '{{"{}","[1, 2]"}}', null);
create table word_arrays (w words[]);
insert into word_arrays values ('{"{a,b}","{}",NULL,"{\"c d\",NULL}"}'), ('{}'), (null);
comment on table word_arrays is 'plain';

create table composites (p pair, d dpair, n nest, l lonely, e empty_type, ps pair[], ns nest[], s shrunk, big pairs, t numbers, ta jsons[]);
insert into composites values (row(1, 'x'), row(null, ''), row(row(1, 'q"\,()'), array['a b', null, '"'], '{"a": [1, null]}', '2024-01-01 00:00:00+00', 'NaN', 'a,b'), row(''), row(),
        array[row(1, 'a b'), null, row(null, null), row(2, '')]::pair[], array[row(row(1, ''), '{}', 'true', 'infinity', 1.50, null)]::nest[], row(1, 'c'),
        row(array[row(1, 'NULL')]::pair[], 'a=>"b c"', null), row(1, 2, 3, 'NaN', 1.5, -1, 2), array[row('[1]', '{"a": 1}')]::jsons[]),
    (null, null, null, null, null, null, null, null, null, null, null),
    (row(null, null), row(1, every_char()), row(null, null, null, null, null, null), row(null), row(), '{}', '{}', row(null, null), row(null, null, row(row(null, every_char()), array[every_char()], to_jsonb(every_char()), null, null, 'back\slash')), null, null),
    (row(-1, 'NULL'), null, null, row('null'), null, '{{"(1,a)","(2,b)"},{"(3,c)",NULL}}', null, row(1, ' '), null, null, null);
comment on table composites is 'plain';
create table odd_composites (n nest, js jsons);
insert into odd_composites values (row(null, '[0:0]={a}', 'null', null, null, null), row(E'[\n1]', 'null')), (row(null, null, null, null, null, null), row('null', null));

-- ---- shapes of tables ---------------------------------------------------------------------

create table "Odd ""table"" é" ("a ""b""" int, "c\d" text, "tab	x" text, "😀" text, gone int, "NULL" text, generated int generated always as (1 + 1) stored, ident int generated always as identity);
alter table "Odd ""table"" é" drop column gone;
insert into "Odd ""table"" é" values (1, 'x', 'y', 'z', 'w'), (null, null, null, null, null);
comment on table "Odd ""table"" é" is 'plain';
create table one_column (t text);
insert into one_column values (''), (null), ('x'), ('\.'), (E'\t');
comment on table one_column is 'plain';
create table no_columns ();
insert into no_columns default values;
insert into no_columns default values;
create table no_rows (a int, b text);
create table duplicates as select 1 a, 'x' b from generate_series(1, 5);
do $$ begin
    execute (select 'create table wide (' || string_agg(format('c%s %s', i, (array['int', 'text', 'numeric', 'timestamptz', 'jsonb', 'text[]'])[1 + i % 6]), ', ') || ')' from generate_series(1, 300) i);
    execute (select 'insert into wide values (' || string_agg((array['7', '''te"xt''', '1.50', '''2024-01-01 00:00:00+00''', '''{"a": [1]}''', '''{a,"b c"}'''])[1 + i % 6], ', ') || '), (' || string_agg('null', ',') || ')' from generate_series(1, 300) i);
end $$;
comment on table wide is 'plain';

-- ---- at random ----------------------------------------------------------------------------

do 'begin perform setseed(0.4711); end';
create function rtext(n int) returns text language sql volatile as $$
    select coalesce(string_agg((array['a', 'b', ' ', E'\t', E'\n', E'\r', E'\v', E'\f', E'\b', '"', '\', '''', ',', ';', '{', '}', '(', ')', '[', ']', '=', '>', 'NULL', 'null', E'\x01', E'\x1f', E'\x7f', 'é', '漢', '😀', '/', ':', '0', '-', 'T', '+00'])[1 + floor(random() * 36)::int], ''), '')
    from generate_series(1, floor(random() * n)::int) $$;
create function rtexts(n int) returns text[] language sql volatile as $$
    select coalesce(array_agg(case when random() < 0.1 then null else rtext(n) end), '{}') from generate_series(1, floor(random() * 5)::int) $$;
create table random_texts as select rtext(70) a, rtext(10) b, rtext(1) c, rtext(300) d from generate_series(1, 3000);
comment on table random_texts is 'plain';
create table random_nested as select rtexts(8) t, row(floor(random() * 9)::int, rtext(8))::pair p,
    row(row(1, rtext(5)), rtexts(4), to_jsonb(rtexts(4)), '2024-01-01 00:00:00+00', random()::numeric, 'ok')::nest n,
    array[row(null, rtext(6)), row(1, rtext(3))]::pair[] ps,
    hstore(array['a' || rtext(6), 'b' || rtext(6)], array[rtext(6), null]) h, array[hstore('k', rtext(6))] hs,
    array[textrange(least(a, b), greatest(a, b)), 'empty'] r, to_jsonb(rtexts(10)) jb, to_json(rtexts(10)) j, array[to_jsonb(rtexts(3))] jba, textrange(least(a, b), greatest(a, b)) r1,
    row(array[row(1, rtext(5))]::pair[], hstore('x', rtext(5)), null)::pairs deep
    from (select rtext(6) a, rtext(6) b from generate_series(1, 3000)) x;
comment on table random_nested is 'plain';
create table random_numbers as select (random() * 10 ^ (floor(random() * 600) - 300))::float8 f8, (random() * 1000)::float4 f4, (random() * 10 ^ 30)::numeric n, array[random()::float4, -random(), null] a,
    timestamp '2000-01-01' + (random() - 0.03) * interval '200000 years' ts, timestamptz '2000-01-01 00:00+00' + (random() - 0.5) * interval '200000 days' tz, date '2000-01-01' + (random() * 1000000)::int d, random() * interval '1000 years' i
    from generate_series(1, 2000) where random() < 0.99;
comment on table random_numbers is 'plain';
