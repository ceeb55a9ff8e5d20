-- Which function holds more in a program's newest build than in the one before, by process and on the average. A
-- program with one build is left out. The newest moment of each process counts.
with ranked as (
    select *, rank() over (partition by host, boot, pid, start order by moment desc, image desc) as place
    from (select distinct * from facts) as facts -- an image that was put in twice counts once
),
newest as (select * from ranked where place = 1),
processes as (
    select program, build_id, count(distinct (host, boot, pid, start)) as processes, min(moment) as since
    from newest group by program, build_id
),
builds as (
    select program, build_id, processes,
        row_number() over (partition by program order by since desc, build_id) as age,
        count(*) over (partition by program) as builds
    from processes
),
held as (
    select program, function, age, sum(cast(bytes as double)) / max(processes) as held_bytes
    from newest join stacks using (stack_key) join builds using (program, build_id)
    where age <= 2 and builds > 1 group by program, function, age
),
compared as (
    select program, function,
        cast(round(sum(case when age = 1 then held_bytes else 0 end)) as bigint) as newest_bytes,
        cast(round(sum(case when age = 2 then held_bytes else 0 end)) as bigint) as before_bytes
    from held group by program, function
)
select program, function, newest_bytes, before_bytes, newest_bytes - before_bytes as growth
from compared
order by growth desc, program, function
limit 20;
