-- For whom the memory is: bytes by tag (heapsum_tag) over all hosts. The newest moment of each process counts.
with newest as (
    select *, coalesce(nullif(tag, ''), 'no tag') as held_for from facts
    qualify rank() over (partition by host, boot, pid, start order by moment desc) = 1
)
select held_for, sum(bytes)::bigint as bytes, sum(blocks)::bigint as blocks, count(distinct host) as hosts
from newest
group by held_for
having sum(bytes) > 0
order by bytes desc, held_for;
