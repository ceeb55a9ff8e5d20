-- Each run of heapsum table writes its own row of a stack: here any of them counts, and it is the same for each engine.
create or replace temporary view stacks as
select stack_key, depth, function, module, calls, frames
from (
    select *, row_number() over (partition by stack_key order by calls, module, frames) as place from stacks_of_runs
) as numbered
where place = 1;
