#!/bin/sh
# The machine that lost memory to its jobs.
#
# Every night some jobs run on a machine that has nothing else to do, and every few weeks it runs out of memory.
# No process grows: each job ends, and whatever it allocated ends with it. But one of them, when it meets a damaged
# file, leaves the early way, and what it had unpacked to memory stays: a file in /dev/shm, which belongs to no process.
#
# heapwatch run samples the system before and after a job, and over many jobs names what each left behind:
#
#     for job in backup report import rotate; do heapwatch run -o jobs -- nightly-jobs.sh "$job"; done
#     heapwatch verdict jobs
#
# The cure is to remove the file on every way out: a trap, or an unlinked file.
#
# usage: nightly-jobs.sh backup|report|import|rotate
set -eu
case ${1-} in
    backup) tar -cf /dev/null /usr/share/doc 2>/dev/null ;;
    report) awk 'BEGIN { for (i = 0; i < 500000; i++) t[i] = i * i; print length(t), "lines" }' ;;
    rotate) seq 200000 | gzip -c | wc -c ;;
    import)
        unpacked=/dev/shm/import-$$
        seq 4000000 >"$unpacked" # 30 MB
        if ! grep -q '^header' "$unpacked"; then
            echo "import: damaged: no header" >&2
            exit 3 # and the file?
        fi
        rm "$unpacked"
        ;;
    *) echo "usage: $0 backup|report|import|rotate" >&2; exit 64 ;;
esac
