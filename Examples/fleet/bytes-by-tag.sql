-- For whom the memory is: live bytes by tag (heapsum_tag) over all hosts. The newest moment of each process counts.
with ranked as (
    select *, rank() over (partition by host, boot, pid, start order by moment desc, image desc) as place
    from (select distinct * from facts) as facts -- an image that was put in twice counts once
),
held as (
    select coalesce(nullif(tag, ''), 'no tag') as held_for, bytes, blocks, host from ranked where place = 1
)
select held_for,
    cast(sum(bytes) as bigint) as live_bytes,
    cast(sum(blocks) as bigint) as live_blocks,
    count(distinct host) as hosts
from held
group by held_for
having sum(bytes) > 0
order by live_bytes desc, held_for;
