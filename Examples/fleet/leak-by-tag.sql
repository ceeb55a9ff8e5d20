-- For whom memory was lost, and by which function: what nothing points to any more, in images with a verdict (heaprun
-- --leaks, heapdump --leaks). The newest moment of each process counts.
with ranked as (
    select *, rank() over (partition by host, boot, pid, start order by moment desc, image desc) as place
    from (select distinct * from facts) as facts -- an image that was put in twice counts once
),
lost as (
    select coalesce(nullif(tag, ''), 'no tag') as lost_for, stack_key, bytes, blocks, host
    from ranked where place = 1 and verdict in ('definite', 'indirect')
)
select lost_for, function,
    cast(sum(bytes) as bigint) as lost_bytes,
    cast(sum(blocks) as bigint) as lost_blocks,
    count(distinct host) as hosts
from lost join stacks using (stack_key)
group by lost_for, function
order by lost_bytes desc, lost_for, function
limit 20;
