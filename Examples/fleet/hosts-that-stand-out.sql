-- Hosts whose programs hold far more than the others': more than five deviations (by the median) above the median.
with ranked as (
    select *, rank() over (partition by host, boot, pid, start order by moment desc, image desc) as place
    from (select distinct * from facts) as facts -- an image that was put in twice counts once
),
held as (
    select host, program, sum(cast(bytes as double)) as held_bytes from ranked where place = 1 group by host, program
),
middles as (select program, median(held_bytes) as middle from held group by program),
spreads as (
    select program, middle, median(abs(held_bytes - middle)) * 1.4826 as deviation
    from held join middles using (program) group by program, middle
)
select host, program, cast(round(held_bytes) as bigint) as live_bytes, cast(round(middle) as bigint) as usual_bytes
from held join spreads using (program)
where held_bytes > middle + 5 * greatest(deviation, middle * 0.01)
order by live_bytes desc, host, program;
