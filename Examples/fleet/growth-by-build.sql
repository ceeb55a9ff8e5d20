-- Which function holds more in the newest build than in the one before, by process and on the average.
-- The newest moment of each process counts.
with newest as (
    select * from facts
    qualify rank() over (partition by host, boot, pid, start order by moment desc) = 1
),
processes as (
    select build_id, count(distinct (host, boot, pid, start)) as processes, min(moment) as since
    from newest group by all
),
builds as (select build_id, processes, row_number() over (order by since desc) as age from processes),
held as (
    select function, age, sum(bytes) / any_value(processes) as bytes
    from newest join stacks using (stack_key) join builds using (build_id)
    where age <= 2 group by all
)
select function,
    coalesce(sum(bytes) filter (age = 1), 0)::bigint as newest_bytes,
    coalesce(sum(bytes) filter (age = 2), 0)::bigint as before_bytes,
    newest_bytes - before_bytes as growth
from held group by function order by growth desc, function limit 20;
