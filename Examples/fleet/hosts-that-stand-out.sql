-- Hosts whose programs hold far more than the others': more than five deviations (by the median) above the median.
with newest as (
    select * from facts
    qualify rank() over (partition by host, boot, pid, start order by moment desc) = 1
),
held as (select host, program, sum(bytes) as bytes from newest group by all),
middle as (select program, median(bytes) as middle, mad(bytes) * 1.4826 as deviation from held group by program)
select host, program, bytes::bigint as bytes, middle::bigint as usual
from held join middle using (program)
where bytes > middle + 5 * greatest(deviation, middle * 0.01)
order by bytes desc, host;
