-- Stacks that hold memory in the newest build and were in no older one, by their bytes. A rebuilt program's stacks have
-- other keys, so the calls' names say which are the same.
with builds as (select build_id, row_number() over (order by min(moment) desc) as age from facts group by build_id),
seen as (
    select calls, any_value(function) as function, any_value(module) as module, max(age) as oldest,
        sum(bytes) filter (age = 1) as bytes
    from facts join stacks using (stack_key) join builds using (build_id) group by calls
)
select function, module, calls, bytes
from seen
where oldest = 1 and bytes > 0
order by bytes desc, calls limit 20;
