#!/usr/bin/env bash
# Writes docs/tour.md: the demo on an emulated terminal, its screens as they come.
#   bash tests/screens/tour.sh <hoplab> <hl_shoot>
set -euo pipefail
hoplab=$(realpath "$1")
shoot=$(realpath "$2")
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'cd /; rm -rf "$work"' EXIT
export HOME=$work XDG_STATE_HOME=$work HOPLAB_DATA=${HOPLAB_DATA:-$(realpath "$top/../shared/data" 2>/dev/null || true)}
ln -s "$hoplab" "$work/hoplab"
cd "$work"
export PATH=$work:$PATH

step() { # TEXT KEYS: a paragraph, then the screen after the keys
  printf '%s<say:><say:%s><say:><say:```text><shot><say:```>' "$2" "$1"
}

{
  cat <<'END'
# A tour of the workbench

Every screen below was taken by `tests/screens/tour.sh`: the real program on an emulated terminal, while the demo trained.
The pictures have no colours here; on a terminal each run has one, and a letter at the end of its line for those without.

## 80 x 24: the demo
END
  "$shoot" --size 80x24 --limit 60000 --keys "$(
    step '`hoplab demo` starts three runs in processes of their own, marks them and shows them over each other: letter a is the one under the cursor.' '<wait:a demo-><wait:b demo-><sleep:6000>'
    step '`]` goes to the next chart: the largest activation of all that are watched, of both runs.' ']<sleep:5000>'
    step '`:knob lr=5e-4` asks the run for another learning rate. The bottom line says at which step it applied; the log keeps it, and every chart gets a mark there.' ':knob lr=5e-4<Enter><wait:applied at step><sleep:600>'
    step '`[` back to the loss, `s` smooths it. The title says so, the raw line stays behind.' '[s<sleep:2500>'
    step '`3` is the Outliers view: layers by steps, the shade is the logarithm of the infinity norm; below, the histogram of the layer under the cursor with logarithmic counts. Dashed: six standard deviations.' 's<Esc>3jj<sleep:2500>'
    step '`*` jumps to the layer and step with the largest value; `m` flags that layer in the record of the run, with a text if it is given as `:flag TEXT`.' '*:flag "grows first"<Enter><sleep:1500>'
    step '`o` shows the other run with the same scale, so the shades can be compared.' 'o<sleep:1500>'
    step '`Q` quantizes the run as it is now, between two steps; the answer comes in the log, the result in the Quant view.' 'Q<sleep:3000>5<sleep:5000>'
    step '`K` asks before it stops anything. The default is the harmless answer: finish the step, write a checkpoint, stop.' '3K<wait:do not stop>'
    step 'Enter. The answer comes with its step; the other run goes on.' '<Enter><wait:stop: applied at step><wait:stopped>'
    step '`1` is the list of runs.' '1<sleep:1500>'
    step '`6` lays the marked runs side by side: metrics with the best one marked, what differs between them, and a chart of both.' '6<sleep:2500>'
    step '`d` there: the difference to the reference run (`r` makes it the one under the cursor). `:export` writes the focused pane into a file: SVG, PNG, CSV, JSON or text.' 'd<sleep:800>:export svg compare.svg<Enter><sleep:800>'
    step '`7` is the System view: the machine, and where the time of a step goes.' '7<sleep:1500>'
    step '`8` is a console of Lua on the runs; it holds nothing up, and `~` opens it under any view.' '8hop.runs()<Enter><sleep:1500><Esc>'
    step '`?` lists the keys of the pane, the commands and the settings; `/` searches in it.' '1?<sleep:300>'
  )<Esc>q" -- hoplab demo
  printf '\n## 200 x 60: everything at once\n'
  "$shoot" --size 200x60 --limit 60000 --keys "<wait:demo->$(
    step '`hoplab`, alone, shows the runs of `./runs`. `2` on a large terminal: the list beside a grid of charts, outliers, log and controls.' '2<wait:train/loss><sleep:2500>'
  )q" -- hoplab
  printf '\n## An equilibrium model\n\nTwo runs of `scripts_lua/exp/deq_hopfield.lua`, solved by Anderson mixing and by plain iteration.\n`4` is the DEQ view: the residual of a recorded batch by evaluation, median and band over its samples, the marked runs laid over it; below, their numbers and how they went.\n'
  for solver in picard anderson; do
    hoplab run "$top/scripts_lua/exp/deq_hopfield.lua" --name "hopfield-$solver" --runs deq --quiet \
      -s data.set=generated -s train.max_steps=200 -s probe.every=10 -s model.forward.tol=1e-4 \
      -s model.forward.solver=$solver
  done
  "$shoot" --size 80x24 --keys "<wait:hopfield-><Space><Space>gg4<wait:solves>Y<sleep:500><Esc>4$(
    step 'How many evaluations the samples needed stands beside it, those that did not converge in a bin of their own. `[` and `]` step through the recorded batches, `e` shows evaluations instead of training, `b` all samples.' '<sleep:500>'
  )q" -- hoplab --runs deq
  printf '\n## What quantizing costs\n\nTwo small models, vanilla softmax and softmax1, each in two seeds and quantized when it was done (`quantize.at_end=1`).\n'
  for softmax in vanilla softmax1; do
    for seed in 1 2; do
      hoplab run "$top/tests/e2e/masked.lua" --name "bert-$softmax-s$seed" --seed $seed --runs quant --quiet \
        -s model.attention.softmax=$softmax -s quantize.at_end=1 -s train.max_steps=300 -s eval.batches=0 -s probe.every=50
    done
  done
  hoplab quantize bert-softmax1-s1 --runs quant --sensitivity 2 -s quantize.weight_bits=4 >/dev/null
  "$shoot" --size 100x30 --keys "<wait:bert->$(
    step '`5` is the Quant view: methods over their seeds, the tensors of the one under the cursor by signal to noise, and what each costs alone. `S` ranks the tensors, `=` puts one back in floating point, `Q` quantizes a live run; each is one more row.' '5<sleep:600>j<Tab><wait:tensors by><sleep:500>'
    step 'Enter: the histogram of a tensor, with the ends of its quantizer'"'"'s grid. `O` goes to its outlier strip.' 'sssggjjjjjjj<Enter><sleep:300>'
  )<Esc>q" -- hoplab --runs quant
  printf '\n## 20 x 5: what is left\n'
  "$shoot" --size 20x5 --limit 60000 --keys "<wait:demo->$(
    step 'The smallest terminal that still says something.' '2<wait:loss><sleep:500>'
    step 'And its list.' '1<sleep:500>'
  )q" -- hoplab
  printf '\n## Without a terminal\n\nThe same pictures come from `hoplab watch --dump 80x24 --keys 2`, for a job script or a bug report.\n`q` left all of these screens; the runs never noticed.\n'
} >"$work/tour.md"
for run in "$work"/runs/*/; do hoplab ctl "$(basename "$run")" stop >/dev/null 2>&1 || true; done
while hoplab ls | grep -q running; do sleep 0.2; done
cp "$work/tour.md" "$top/docs/tour.md"
