#!/usr/bin/env bash
# Parents with their children, three levels deep, under awkward names: what moves together, what
# stays and what is said about it; late rows; times of every kind; concurrent writers and runs.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../lib/tap.sh"
. "$here/../lib/mount.sh"

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

make_tables() {
    psql -Xq -v ON_ERROR_STOP=1 >/dev/null <<'END' || exit 1
set client_min_messages = warning;
create schema shop;
create table shop."Ordérs" (id int primary key, "Placed ""At""" timestamptz, state text);
create table shop."order lines" (id int primary key, "Order" int not null references shop."Ordérs", at timestamptz);
create index on shop."order lines" ("Order");
create table shop.notes (id int, line int references shop."order lines", note text);
create index on shop.notes (line);
create table shop.complaints (id int, order_id int references shop."Ordérs");
create index on shop.complaints (order_id);
-- 1 to 100 old; of these 5 and 6 open; 7 is complained about; 101 to 110 young; then times that never end.
insert into shop."Ordérs" select i, '2024-01-01 00:00:00+00'::timestamptz + i * interval '6 hours', case when i in (5, 6) then 'open' else 'paid' end from generate_series(1, 100) i;
insert into shop."Ordérs" select i, now(), 'paid' from generate_series(101, 110) i;
insert into shop."Ordérs" values (111, null, 'paid'), (112, 'infinity', 'paid'), (113, '-infinity', 'paid');
-- Lines of any date, one of them tomorrow; notes of every second line, one of no line.
insert into shop."order lines" select o * 10 + k, o, now() + (k - 2) * interval '1 day' from generate_series(1, 113) o, generate_series(0, 3) k;
insert into shop.notes select i, id, 'note ' || i from (select row_number() over (order by id) i, id from shop."order lines") l where i % 2 = 0;
insert into shop.notes values (0, null, 'of no line');
insert into shop.complaints values (1, 7);
create schema keep;
create table keep.orders as table shop."Ordérs";
create table keep.lines as table shop."order lines";
create table keep.notes as table shop.notes;
END
}
left() { sql "select string_agg(id::text, ',' order by id) from shop.\"Ordérs\" where id < 200"; }
expected_left="5,6,7,101,102,103,104,105,106,107,108,109,110,111,112,113"

test_dry_run_tells_what_moves_and_what_stays() {
    assert_status 0 amberfs archive orders --dry-run --env-file "$ENVFILE"
    assert_match "stay" '^1 row stayed, referenced .*complaints_order_id_fkey' "$out"
    assert_match "times" '^3 rows without a finite time' "$out"
    assert_match "orders" 'Ordérs.* 97 ' "$out"
    assert_match "lines" 'order lines.* 388 ' "$out"
    assert_match "notes" 'notes.* 194 ' "$out"
}
test_families_move_whole_and_what_stays_is_told() {
    mount_start || return
    run_job orders
    assert_match "result" '^state: ok$' "$result"
    assert_match "result" '^rows: 679$' "$result"
    assert_match "result" '^stayed: 1$' "$result"
    assert_match "result" '^stayed because of: .*complaints_order_id_fkey' "$result"
    assert_match "result" '^without a time: 3$' "$result"
    assert_eq "orders left" "$expected_left" "$(left)"
    assert_eq "lines of other orders" 0 "$(sql "select count(*) from shop.\"order lines\" where \"Order\" not in ($expected_left)")"
    assert_eq "lines of orders that stayed" 64 "$(sql "select count(*) from shop.\"order lines\"")"
    assert_eq "notes left" "$(sql "select count(*) from keep.notes where line is null or line / 10 in ($expected_left)")" \
        "$(sql "select count(*) from shop.notes")"
    assert_eq ".status" "1 3 true" "$(jq -r '.jobs[] | select(.name == "orders").lastResult
        | "\(.rowsStayed) \(.rowsWithoutTime) \(.stayedBecause | test("complaints"))"' "$MNT/.status")"
}
test_children_carry_their_parents_dates() {
    assert_eq "names" "lines/lines_2024-01-01_to_2024-01-26.json
notes/notes_2024-01-01_to_2024-01-26.json
orders/orders_2024-01-01_to_2024-01-26.json" "$(cd "$MNT" && ls -d */*.json)"
}
test_late_rows_get_names_with_numbers() {
    local i
    for i in 2 3; do
        # The same days as the first archive's.
        sql "insert into shop.\"Ordérs\" select i * $i, '2024-01-01 06:00:00+00'::timestamptz + (i - 1000) * interval '25 days', 'paid' from generate_series(1000, 1001) i;
             insert into shop.\"order lines\" select id * 10, id, null from shop.\"Ordérs\" where id >= 2000" >/dev/null
        run_job orders
        assert_match "rows" '^rows: 4$' "$result"
        assert_eq "lines _$i" 2 "$(cat "$MNT/lines/lines_2024-01-01_to_2024-01-26_$i.json" | wc -l)"
        assert_eq "orders _$i" 2 "$(cat "$MNT/orders/orders_2024-01-01_to_2024-01-26_$i.json" | wc -l)"
    done
    assert_eq "the first archive" 97 "$(cat "$MNT/orders/orders_2024-01-01_to_2024-01-26.json" | wc -l)"
    mount_stop
}
test_family_comes_back_pinned_and_shown() {
    local name
    for name in "$STORE"/notes/*.json.gz "$STORE"/lines/*_[23].json.gz; do
        assert_status 0 amberfs restore "$(basename "$(dirname "$name")")/$(basename "$name" .gz)" --env-file "$ENVFILE"
    done
    assert_eq "orders" 0 "$(sql "select count(*) from shop.\"Ordérs\" o full join keep.orders k using (id) where id < 200 and o::text is distinct from k::text")"
    assert_eq "lines" 0 "$(sql "select count(*) from shop.\"order lines\" o full join keep.lines k using (id) where id < 2000 and o::text is distinct from k::text")"
    assert_eq "notes" 0 "$(sql "select count(*) from shop.notes o full join keep.notes k using (id) where o::text is distinct from k::text")"
    mount_start || return
    run_job orders
    assert_match "result" '^rows: 0$' "$result"
    assert_status 0 amberfs status "$MNT"
    assert_match "status" 'pinned.*shop\.Ordérs.*2024-01' "$out"
    mount_stop
    sql "delete from amberfs.pins" >/dev/null
}
test_time_columns_without_zone() {
    sql "create table dated (id int, day date); create table local (id int, at timestamp);
         insert into dated select i, date '2024-03-30' + i from generate_series(0, 3) i;
         insert into dated values (9, 'infinity'), (10, null);
         insert into local values (1, '2024-03-31 00:30'), (2, '2024-04-01 01:30'), (3, '2024-04-01 03:00'), (4, '-infinity')" >/dev/null
    assert_status 0 amberfs archive dated --env-file "$ENVFILE"
    assert_match "report" '2 rows without a finite time' "$out"
    assert_eq "dated archives" "dated_2024-03-30_to_2024-03-31.json.gz dated_2024-04-01_to_2024-04-02.json.gz" "$(ls "$STORE/dated" | paste -sd ' ')"
    # 01:30 in Berlin's summer is 23:30 of the day before in UTC.
    assert_status 0 amberfs archive local --env-file "$ENVFILE"
    assert_eq "local archives" "local_2024-03-30_to_2024-03-31.json.gz local_2024-04-01_to_2024-04-01.json.gz" "$(ls "$STORE/local" | paste -sd ' ')"
    assert_eq "rows left" "9,10;4" "$(sql "select (select string_agg(id::text, ',') from dated) || ';' || (select string_agg(id::text, ',') from local)")"
}
test_run_period_is_named_by_day_and_milliseconds() {
    sql "create table chunks (id int, expires timestamptz);
         insert into chunks values (1, now() - interval '400 days'), (2, now() - interval '2 days'), (3, now() + interval '1 day'), (4, null)" >/dev/null
    assert_status 0 amberfs archive chunks --env-file "$ENVFILE"
    assert_match "name" "^expired_$(date -u +%Y-%m-)[0-9]{2}_$(date +%s | cut -c 1-6)[0-9]{7}\\.json\\.gz\$" "$(ls "$STORE/chunks")"
    assert_eq "rows" 2 "$(zcat "$STORE"/chunks/* | wc -l)"
}
test_two_runs_at_once_move_nothing_twice() {
    local i pids=() ok=0 busy=0 status
    sql "create table twice (id int, at timestamptz); insert into twice select i, '2024-01-01'::timestamptz + i * interval '1 hour' from generate_series(1, 5000) i" >/dev/null
    # Holds the runs where they must queue for the same lock.
    coproc HOLD { psql -XAtq; }
    local holder=$HOLD_PID
    echo "begin; lock table twice in access exclusive mode; select 'held';" >&"${HOLD[1]}"
    read -r _ <&"${HOLD[0]}"
    for i in 1 2 3; do
        amberfs archive twice --env-file "$ENVFILE" >"$T/twice.$i" 2>&1 &
        pids+=($!)
    done
    until [ "$(sql "select count(*) from pg_locks where relation = 'twice'::regclass and not granted")" -ge 1 ]; do :; done
    echo "rollback; \\q" >&"${HOLD[1]}"
    wait "$holder" 2>/dev/null
    for i in 0 1 2; do
        wait "${pids[$i]}"
        status=$?
        if [ $status = 0 ]; then
            ok=$((ok + 1))
        elif grep -qiE 'runs|busy|another|lock' "$T/twice.$((i + 1))"; then
            busy=$((busy + 1))
        else
            fail "status $status: $(cat "$T/twice.$((i + 1))")"
        fi
    done
    [ $ok -ge 1 ] || fail "none of the runs went through: $(cat "$T"/twice.*)"
    assert_eq "rows left" 0 "$(sql "select count(*) from twice")"
    assert_eq "rows archived, distinct rows" "5000 5000" "$(zcat "$STORE"/twice/*.gz | wc -l) $(zcat "$STORE"/twice/*.gz | sort -u | wc -l)"
}
test_writers_during_a_run_lose_nothing() {
    local writer
    sql "create table busy (id int primary key, at timestamptz, n int default 0);
         create table moved (doc jsonb);
         insert into busy select i, '2024-01-01'::timestamptz + i * interval '1 minute' from generate_series(1, 40000) i" >/dev/null
    # Updates, deletes and inserts among the rows that move, until the run has ended.
    psql -Xq -v ON_ERROR_STOP=1 >"$T/writer" 2>&1 <<'END' &
create table log (id int, what text);
do $$ begin
    for k in 1..400 loop
        begin
            with u as (update busy set n = n + 1 where id = k * 100 returning id) insert into log select id, 'update' from u;
            with d as (delete from busy where id = k * 100 + 1 returning id) insert into log select id, 'delete' from d;
            insert into busy values (100000 + k, '2024-01-01'); insert into log values (100000 + k, 'insert');
        end;
        commit;
    end loop;
end $$;
END
    writer=$!
    amberfs archive busy --env-file "$ENVFILE" >"$T/busy.1" 2>&1 # conflicts may win
    wait $writer || fail "the writer failed: $(cat "$T/writer")"
    assert_status 0 amberfs archive busy --env-file "$ENVFILE"
    assert_eq "rows left" 0 "$(sql "select count(*) from busy")"
    zcat "$STORE"/busy/*.gz | psql -Xq -c "copy moved from stdin (format csv, delimiter e'\\x02', quote e'\\x01')"
    assert_eq "rows lost, doubled or stale" "" "$(sql "
        with want as (
            select i as id, (select count(*) from log where log.id = i and what = 'update') n from generate_series(1, 40000) i
            where not exists (select from log where log.id = i and what = 'delete')
            union all select id, 0 from log where what = 'insert'),
        got as (select (doc ->> 'id')::int as id, (doc ->> 'n')::int as n, count(*) c from moved group by 1, 2)
        select want.id, want.n, got.id, got.n, got.c from want full join got using (id, n)
        where want.id is null or got.id is null or got.c <> 1 limit 5")"
}
test_preflight_refuses_with_the_remedy() {
    sql "create table top (id int primary key, at timestamptz);
         create table below (id int, top_id int references top on delete cascade);
         insert into top values (1, '2024-01-01'); insert into below values (1, 1)" >/dev/null
    assert_status 1 amberfs archive top --env-file "$ENVFILE"
    assert_match "cascade" 'CASCADE.*(add that table|NO ACTION)' "$msg"
    assert_match "index" 'CREATE INDEX ON .*below' "$msg"
    assert_eq "rows" "1 1" "$(sql "select (select count(*) from top) || ' ' || (select count(*) from below)")"
    assert_eq "archives" "" "$(ls "$STORE/top" 2>/dev/null)"
}

pg_start
make_tables
cat >"$T/jobs.json" <<'END'
{"version": 1, "jobs": [
  {"name": "orders", "time_column": "Placed \"At\"", "retention_days": 90, "where": "state <> 'open'", "tables": [
    {"schema": "shop", "name": "Ordérs", "folder": "orders", "pattern": "orders_{start}_to_{end}"},
    {"schema": "shop", "name": "order lines", "parent": "Ordérs", "folder": "lines", "pattern": "lines_{start}_to_{end}"},
    {"schema": "shop", "name": "notes", "parent": "order lines", "folder": "notes", "pattern": "notes_{start}_to_{end}"}]},
  {"name": "dated", "time_column": "day", "tables": [{"name": "dated"}]},
  {"name": "local", "time_column": "at", "zone": "Europe/Berlin", "tables": [{"name": "local"}]},
  {"name": "chunks", "time_column": "expires", "retention_days": 0, "period": "run",
   "tables": [{"name": "chunks", "pattern": "expired_{day}_{epoch_ms}"}]},
  {"name": "twice", "time_column": "at", "period": "year", "tables": [{"name": "twice"}]},
  {"name": "busy", "time_column": "at", "period": "week", "tables": [{"name": "busy"}]},
  {"name": "top", "time_column": "at", "tables": [{"name": "top"}]}]}
END
write_env "ARCHIVAL_JOBS_FILE=$T/jobs.json"
amberfs init --env-file "$ENVFILE" >/dev/null || exit 1

tap_run test_dry_run_tells_what_moves_and_what_stays \
    test_families_move_whole_and_what_stays_is_told \
    test_children_carry_their_parents_dates \
    test_late_rows_get_names_with_numbers \
    test_family_comes_back_pinned_and_shown \
    test_time_columns_without_zone \
    test_run_period_is_named_by_day_and_milliseconds \
    test_two_runs_at_once_move_nothing_twice \
    test_writers_during_a_run_lose_nothing \
    test_preflight_refuses_with_the_remedy
