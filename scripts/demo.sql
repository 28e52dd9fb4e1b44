-- The demo's six tables and their rows. psql variable `rows`: about how many rows in all.
--
-- Rows are spread over the past 15 months, the same ones for the same day (setseed; keys are md5
-- of a counter). Three quarters and more are deltas, 50 to 100 for each session.

\set ON_ERROR_STOP on
set client_min_messages = warning;
set timezone = 'UTC';
set max_parallel_workers_per_gather = 0; -- random() in a stable order
select setseed(0.42) \g /dev/null

create table flow_execution_logs (
    id uuid primary key,
    session_id uuid not null,
    node_id text not null,
    level text not null check (level in ('debug', 'info', 'warn', 'error')),
    message text not null,
    data jsonb,
    created_at timestamptz not null
);
create table flow_execution_sessions (
    id uuid primary key,
    flow_id uuid not null,
    status text not null check (status in ('running', 'completed', 'failed', 'cancelled')),
    initial_state jsonb not null,
    working_memory_cache jsonb,
    history jsonb,
    started_at timestamptz not null,
    ended_at timestamptz,
    created_at timestamptz not null
);
create table flow_execution_deltas (
    id bigint primary key,
    session_id uuid not null references flow_execution_sessions,
    sequence int not null,
    op text not null,
    path text not null,
    value jsonb,
    latency_ms double precision,
    cost numeric(12, 6),
    created_at timestamptz not null
);
create table call_sessions (
    id uuid primary key,
    caller text,
    callee text,
    direction text not null check (direction in ('inbound', 'outbound')),
    status text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    recording_url text,
    metadata jsonb
);
create table call_events (
    id bigint primary key,
    call_session_id uuid not null references call_sessions,
    event_type text not null,
    payload jsonb,
    occurred_at timestamptz not null
);
create table memory_chunks (
    id uuid primary key,
    agent_id uuid not null,
    content text not null,
    embedding real[],
    metadata jsonb,
    expires_at timestamptz,
    created_at timestamptz not null
);

-- pick(words): one of them.
create function pg_temp.pick(words text[]) returns text language sql volatile as
    'select words[1 + floor(random() * cardinality(words))::int]';
-- A time in the past 15 months, by a fraction 0..1, at an hour when people are awake.
create function pg_temp.moment(fraction float8) returns timestamptz language sql volatile as $$
    select date_trunc('day', now() - interval '15 months'
                             + fraction * (now() - (now() - interval '15 months')))
           + make_interval(secs => 6 * 3600 + 7 * 3600 * (random() + random()))
$$;

\set sessions '(greatest(:rows, 1000) / 88)'

insert into flow_execution_sessions
select md5('session' || i)::uuid,
       md5('flow' || (random() * 11)::int)::uuid,
       case when open then 'running' else
            pg_temp.pick('{completed,completed,completed,completed,completed,completed,failed,cancelled}') end,
       jsonb_build_object(
           'channel', pg_temp.pick('{web,phone,email,whatsapp,api}'),
           'locale', pg_temp.pick('{en-GB,de-DE,fr-FR,es-MX,ja-JP,pt-BR}'),
           'customer', jsonb_build_object(
               'name', pg_temp.pick('{Ana,Jürgen,Zoë,Łukasz,Mei 美,Søren,Olu,"D''Arcy",Иван,Noor}') || ' '
                       || pg_temp.pick('{Okafor,Müller,Nakamura,García,Kowalski,"van der Berg",Smith,Ñandú}'),
               'tier', pg_temp.pick('{free,pro,enterprise}'),
               'since', (date '2015-01-01' + (random() * 3500)::int)),
           'budget', round((random() * 5)::numeric, 4)),
       jsonb_build_object('tokens', (random() * 8000)::int, 'summary',
           pg_temp.pick('{"asked for a refund","moved a delivery","reset a password, twice","wants \"a human\"","happy 🎉","two
lines"}'),
           'slots', to_jsonb(array(select (random() * 100)::int from generate_series(1, 1 + i % 5)))),
       jsonb_build_array(
           jsonb_build_object('node', 'start', 'ms', (random() * 40)::int),
           jsonb_build_object('node', pg_temp.pick('{classify,retrieve,route}'), 'ms', (random() * 900)::int),
           jsonb_build_object('node', pg_temp.pick('{answer,escalate,tool:crm,tool:billing}'), 'ms', (random() * 4000)::int)),
       at,
       case when not open then at + make_interval(secs => 20 + random() * 3000) end,
       at
from (select i, pg_temp.moment(i / (:sessions)::float8) as at,
             random() < case when i > :sessions * 0.98 then 0.5 else 0.01 end as open
      from generate_series(1, :sessions) i
      offset 0) s;

insert into flow_execution_deltas
select row_number() over (order by s.created_at, s.id, n),
       s.id, n,
       pg_temp.pick('{set,set,set,append,append,merge,delete,increment}'),
       pg_temp.pick('{/messages/-,/memory/customer/name,/memory/intent,/tools/crm/result,/tools/billing/invoice,/state/node,/usage/tokens,/plan/steps/0,/scratch/notes}'),
       case n % 6
           when 0 then to_jsonb((random() * 100000)::int)
           when 1 then jsonb_build_object('role', pg_temp.pick('{user,assistant,tool}'), 'text',
               pg_temp.pick('{"Where is my parcel?","I''ll check that for you.","The invoice of March is wrong — twice the amount.","¿Puede llamarme mañana?","注文をキャンセルしたい","Thanks! 👍","C:\\temp\\log.txt says \"denied\""}'),
               'id', md5(s.id::text || n))
           when 2 then to_jsonb(pg_temp.pick('{billing,shipping,returns,smalltalk,complaint}'))
           when 3 then jsonb_build_object('ok', random() < 0.95, 'rows', (random() * 40)::int,
               'took', round((random() * 900)::numeric, 2), 'source', pg_temp.pick('{crm,erp,search,cache}'))
           when 4 then to_jsonb(array[(random() * 9)::int, (random() * 99)::int])
       end,
       round((-ln(1 - random()) * 180)::numeric, 3)::float8,
       case when n % 3 = 0 then round((random() * 0.02)::numeric, 6) end,
       s.created_at + make_interval(secs => n * (0.4 + random() * 0.2))
from flow_execution_sessions s,
     generate_series(1, 50 + abs(hashtext(s.id::text)) % 51) n;

insert into flow_execution_logs
select md5('log' || i)::uuid,
       md5('session' || 1 + (random() * (:sessions - 1))::int)::uuid,
       pg_temp.pick('{start,classify,retrieve,route,answer,escalate,tool:crm,tool:billing}'),
       level,
       case level
           when 'error' then pg_temp.pick('{"timeout after 30000 ms","upstream said 503","no such customer","quota exceeded"}')
           when 'warn' then pg_temp.pick('{"retry 1 of 3","slow answer","fallback model used"}')
           else pg_temp.pick('{"node entered","node left","cache hit","cache miss","prompt built"}')
       end,
       jsonb_build_object('ms', (random() * 2000)::int, 'attempt', 1 + (random() * 2)::int,
                          'host', 'worker-' || (random() * 7)::int),
       pg_temp.moment(i / (:rows / 14)::float8)
from (select i, pg_temp.pick('{debug,info,info,info,info,info,info,warn,warn,error}') as level
      from generate_series(1, :rows / 14) i
      offset 0) l;

insert into call_sessions
select md5('call' || i)::uuid,
       '+49' || (1500000000 + (random() * 99999999)::bigint),
       '+4930' || (1000000 + (random() * 999999)::int),
       pg_temp.pick('{inbound,inbound,outbound}'),
       pg_temp.pick('{completed,completed,completed,missed,busy,failed}'),
       at,
       at + make_interval(secs => random() * 1200),
       case when random() < 0.6 then 'https://recordings.example.com/' || md5('call' || i) || '.ogg' end,
       jsonb_build_object('codec', pg_temp.pick('{opus,g722,pcma}'), 'mos', round((2.5 + random() * 2)::numeric, 2),
                          'agent', 'agent-' || (random() * 30)::int)
from (select i, pg_temp.moment(i / (:rows / 160)::float8) as at
      from generate_series(1, :rows / 160) i
      offset 0) c;

insert into call_events
select row_number() over (order by c.started_at, c.id, n),
       c.id,
       (array['ringing', 'answered', 'dtmf', 'hold', 'resumed', 'hangup'])[n],
       jsonb_build_object('leg', pg_temp.pick('{a,b}'), 'jitter_ms', round((random() * 30)::numeric, 1)),
       c.started_at + (c.ended_at - c.started_at) * (n - 1) / 5
from call_sessions c, generate_series(1, 6) n;

insert into memory_chunks
select md5('chunk' || i)::uuid,
       md5('agent' || i % 20)::uuid,
       pg_temp.pick('{"Customer prefers","Delivery address is","Invoice was","Last complaint was about","Speaks"}') || ' '
           || pg_temp.pick('{"e-mail in the evening","Hauptstraße 5, Köln","paid late, twice","a broken zip","Português and English"}'),
       -- "0 * i" makes it another vector in each row.
       array(select (random() * 2 - 1)::real from generate_series(1, 24 + 0 * i)),
       jsonb_build_object('source', pg_temp.pick('{chat,call,email}'), 'score', round(random()::numeric, 3)),
       case when random() < 0.8 then at + make_interval(days => 30 + (random() * 335)::int) end,
       at
from (select i, pg_temp.moment(i / (:rows / 80)::float8) as at
      from generate_series(1, :rows / 80) i
      offset 0) m;

create index on flow_execution_logs (created_at);
create index on flow_execution_logs (session_id);
create index on flow_execution_sessions (created_at);
create index on flow_execution_deltas (session_id);
create index on call_sessions (started_at);
create index on call_events (call_session_id);
create index on memory_chunks (expires_at);
-- A new session: this one's counts must be in before VACUUM puts its own in their place.
\connect
vacuum analyze;
