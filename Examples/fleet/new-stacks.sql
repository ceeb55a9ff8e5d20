-- Stacks that hold memory in a program's newest build and were in no older one, by their bytes. A rebuilt program's
-- stacks have other keys, so the calls' names say which are the same. A program with one build is left out. The newest
-- moment of each process counts.
with ranked as (
    select *, rank() over (partition by host, boot, pid, start order by moment desc, image desc) as place
    from (select distinct * from facts) as facts -- an image that was put in twice counts once
),
builds as (
    select program, build_id,
        row_number() over (partition by program order by min(moment) desc, build_id) as age,
        count(*) over (partition by program) as builds
    from facts group by program, build_id
),
seen as (
    select program, calls, min(function) as function, max(age) as oldest,
        sum(case when age = 1 and place = 1 then bytes else 0 end) as held_bytes
    from ranked join stacks using (stack_key) join builds using (program, build_id)
    where builds > 1
    group by program, calls
)
select program, function, calls, cast(held_bytes as bigint) as live_bytes
from seen
where oldest = 1 and held_bytes > 0
order by live_bytes desc, program, calls
limit 20;
