#!/usr/bin/env bash
# hoplab data: what is known, what is there, and fetching it from a mirror on this disk; texts from
# .gz and .jsonl in a run.
. "$(dirname "$0")/lib.sh"
unset HOPLAB_DATA
says() { grep -Eq -- "$1" out || fail "'$1' is not in: $(head -c 400 out)"; }
told() { grep -Eq -- "$1" err || fail "'$1' is not in: $(head -c 400 err)"; }

# --- a mirror: one folder like a data directory, with a space and a % in its name ---
mirror="$work/a mirror 100%"
mkdir -p "$mirror/text/war-and-peace" "$mirror/mnist"
for i in $(seq 3000); do
  printf 'line %d of a book about war, and about peace as well; %d\n' "$i" $((i * i))
done >"$mirror/text/war-and-peace/input.txt"
book=$mirror/text/war-and-peace/input.txt
for part in train t10k; do
  for kind in images-idx3 labels-idx1; do
    printf 'no digits\n' >"$mirror/mnist/$part-$kind-ubyte.gz"
  done
done

# --- looking ---
run 0 "$hoplab" data --help
says '^Usage: hoplab data'
run 0 "$hoplab" data ls
says '^war-and-peace .* 0/1 '
says '^wiki40b +- +- '
says '^mnist +11.1 MiB +0/4 '
says 'looked for in data'
HOPLAB_DATA="$mirror" run 0 "$hoplab" data ls
says '^war-and-peace .* 1/1 '
says '^mnist +11.1 MiB +4/4 '
run 0 "$hoplab" data ls --dir "$mirror" --json
says '"name":"war-and-peace".*"n_there":1'
run 0 "$hoplab" data info MNIST
says '^licence +CC BY-SA'
says 'https://.*/train-images-idx3-ubyte.gz'
says 'sha256 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609'
says 'not there, 9.5 MiB'
run 0 "$hoplab" data info wiki40b
says 'Parquet'
run 0 "$hoplab" data info mnist --json
says '"files":\[\{"path":"data/mnist/train-images'
run 0 "$hoplab" data info "$book"
says '^lines +3000$'
says '^UTF-8 +valid throughout$'
says "^sha256 +$(sha256sum "$book" | cut -d' ' -f1)"
printf 'good\n\377 bad, in the middle of a line that is otherwise long enough to be taken for text; so it is.\n' >latin
printf '%0.sfiller ' $(seq 60) >>latin
run 0 "$hoplab" data info latin
says '^UTF-8 +not valid at byte 5$'
printf '{"text":"one"}\n{"text":"two"}\n' | gzip >rows.jsonl.gz
run 0 "$hoplab" data info rows.jsonl.gz
says '^rows +2, with 8 bytes'
run 0 "$hoplab" data info rows.jsonl.gz --json
says '"packed":true.*"rows":2'
printf '\0\0\0' >binary
run 0 "$hoplab" data info binary
says '^no text +.*NUL'

# --- fetching ---
run 0 "$hoplab" doctor
if grep -q '^downloads .*no libcurl' out; then
  refuses 3 'libcurl4-openssl-dev.*https://' "$hoplab" data fetch tinyshakespeare
  echo "built without libcurl: fetching is not tried"
else
  run 0 "$hoplab" data fetch war-and-peace --mirror "$mirror"
  told 'fetched, .* sha256 not compared'
  same "$book" data/text/war-and-peace/input.txt
  [ "$(ls data/text/war-and-peace)" = input.txt ] || fail "something is left beside the file"
  run 0 "$hoplab" data fetch war-and-peace --mirror "file:///nowhere" # nobody is asked
  told 'was there'
  run 0 "$hoplab" data ls
  says '^war-and-peace .* 1/1 '

  # into --dir; from a mirror with all files in one folder; the first mirror is not there
  mkdir flat && cp "$book" flat/input.txt
  run 0 "$hoplab" data fetch war-and-peace --dir there --mirror nowhere --mirror flat/ --json
  [ "$(grep -c '^{.*}$' out)" -eq "$(wc -l <out)" ] || fail "--json prints more than JSON"
  says '"ev":"alert".*nowhere'
  says '"ev":"end","ok":true.*"verified":false,"was_there":false'
  same "$book" there/text/war-and-peace/input.txt
  HOPLAB_DATA=$work/elsewhere run 0 "$hoplab" data fetch -q war-and-peace --mirror flat
  [ ! -s err ] || fail "--quiet says something: $(head -c 200 err)"
  same "$book" elsewhere/text/war-and-peace/input.txt

  # wrong bytes are found by the size in the table, and taken when asked to
  refuses 3 'train-images.* it offers 10 bytes; the file has 9912422' \
    "$hoplab" data fetch mnist --mirror "$mirror"
  [ -z "$(ls data/mnist)" ] || fail "wrong bytes left something: $(ls data/mnist)"
  run 0 "$hoplab" data fetch mnist --mirror "$mirror" --no-verify
  same "$mirror/mnist/t10k-labels-idx1-ubyte.gz" data/mnist/t10k-labels-idx1-ubyte.gz
  refuses 3 'is left alone' "$hoplab" data fetch mnist --mirror "$mirror"
  # an unpacked file serves as well
  mkdir -p twin/mnist && (cd twin/mnist && touch {train,t10k}-{images-idx3,labels-idx1}-ubyte)
  run 0 "$hoplab" data fetch mnist --dir twin --mirror "$mirror"
  told 'will do for'
  refuses 3 'wiki40b cannot be fetched: .*Parquet' "$hoplab" data fetch wiki40b
  refuses 3 'does not begin with http' "$hoplab" data fetch ETTh1 --mirror gopher://x/y
  printf x >plain
  refuses 3 'cannot' "$hoplab" data fetch ETTh1 --dir plain --mirror flat

  # Ctrl-C while nothing comes: soon, with the status of an interrupt, and the next call goes on
  if command -v python3 >/dev/null; then
    cat >slow.py <<'PY'
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(5)
open("port", "w").write(str(s.getsockname()[1]))
c, _ = s.accept(); c.recv(4000)
c.sendall(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 100000\r\n\r\n' + b"x" * 5000)
time.sleep(60)
PY
    python3 slow.py &
    slow=$!
    await 10 test -s port
    no_proxy='*' "$hoplab" data fetch war-and-peace --dir broken \
      --mirror "http://127.0.0.1:$(cat port)" >out 2>err </dev/null &
    fetch=$!
    await 10 test -s broken/text/war-and-peace/input.txt.part || fail "no part appears"
    from=$(date +%s%N)
    kill -INT $fetch
    wait $fetch
    status=$?
    took=$((($(date +%s%N) - from) / 1000000))
    [ $status -eq 130 ] || fail "status $status after Ctrl-C"
    [ $took -lt 1000 ] || fail "Ctrl-C took $took ms"
    told 'continues where it was'
    [ "$(wc -c <broken/text/war-and-peace/input.txt.part)" -eq 5000 ] || fail "the part is lost"
    kill $slow
    wait $slow 2>/dev/null
  fi
fi

# --- wrong words ---
refuses 2 "no subcommand 'fech'; did you mean 'fetch'" "$hoplab" data fech
refuses 2 'an argument is missing' "$hoplab" data
refuses 2 'an argument is missing: data info' "$hoplab" data info
refuses 2 "'b' is one argument too many" "$hoplab" data info a b
refuses 2 "'x' is one argument too many" "$hoplab" data ls x
refuses 2 'mirror is no option of .ls.' "$hoplab" data ls --mirror x
refuses 2 "no data set 'mnits'; did you mean 'mnist'" "$hoplab" data fetch mnits
refuses 3 "no data set and no file 'nonesuch'" "$hoplab" data info nonesuch

# --- training on packed text and rows: the same tokens, so the same losses ---
sed 's/.*/{"id": 1, "text": "&"}/' "$book" >book.jsonl
gzip -c book.jsonl >book.jsonl.gz
gzip -c "$book" >book.txt.gz
cp "$book" book.txt
cat >texts.lua <<'LUA'
local hop = require "hop"
return hop.experiment { name = "texts",
  model = hop.nn.opt { layers = 1, width = 16, heads = 2, max_len = 16 },
  data = hop.data.clm { train = "book.txt", seq_len = 16, batch_size = 4, tokens = "bytes" },
  optim = hop.optim.adamw { lr = 1e-3 }, train = { max_steps = 5 }, eval = { batches = 2 } }
LUA
for file in book.txt book.txt.gz book.jsonl book.jsonl.gz; do
  run 0 "$hoplab" run texts.lua --json -q -s "data.train=$file"
  grep -o '"eval_loss":[0-9.]*' out | head -1 >"loss.$file"
  [ -s "loss.$file" ] || fail "no loss of $file: $(tail -c 300 out)"
  cmp -s loss.book.txt "loss.$file" || fail "another loss from $file"
done
head -c 5000 book.txt.gz >cut.txt.gz
refuses 3 "cut.txt.gz' is cut short" "$hoplab" run texts.lua -s data.train=cut.txt.gz
printf '{"text":"a"}\n{"body":"b"}\n' >bad.jsonl
refuses 3 "bad.jsonl', line 2: the field \"text\" is absent" "$hoplab" run texts.lua -s data.train=bad.jsonl

# --- published sets by name: the files in their places, percentages by source, rows as published ---
refuses 3 "wikitext_2: no file 'text/wikitext-2-raw/wiki.train.raw'.*hoplab data fetch wikitext-2" \
  "$hoplab" run texts.lua -s data.train=wikitext_2
refuses 3 "no file 'text/books_large_p1.txt'" "$hoplab" run texts.lua -s data.train=bookcorpus_and_wiki
mkdir -p data/text/wikitext-2-raw data/text/wiki40b
head -n 400 "$book" >data/text/wikitext-2-raw/wiki.train.raw
sed -n 401,500p "$book" >data/text/wikitext-2-raw/wiki.valid.raw
head -n 200 "$book" >half.txt
head -n 200 "$book" >data/text/books_large_p1.txt
sed -n 201,400p "$book" >data/text/books_large_p2.txt
head -n 300 book.jsonl | gzip >data/text/wiki40b/train.jsonl.gz
sed -n 401,500p book.jsonl >data/text/wiki40b/validation.jsonl
loss_of() { # arguments of a run: its loss of evaluation
  run 0 "$hoplab" run texts.lua --json -q "$@"
  grep -o '"eval_loss":[0-9.]*' out | head -1
}
want=$(loss_of -s data.train=half.txt -s data.eval=data/text/wikitext-2-raw/wiki.valid.raw)
[ -n "$want" ] || fail "no loss: $(tail -c 300 out)"
[ "$(loss_of -s data.train=wikitext_2 -s data.train_percentage=50)" = "$want" ] || fail 'half of wikitext_2'
[ "$(loss_of -s data.train=half.txt -s data.eval=bookcorpus_and_wiki)" = "$want" ] || fail 'a named text to evaluate on'
{ head -n 100 "$book" && head -n 75 "$book"; } >both.txt
want=$(loss_of -s data.train=both.txt -s data.eval=data/text/wikitext-2-raw/wiki.valid.raw)
[ "$(loss_of -s data.train=bookcorpus_and_wiki -s data.train_percentage=25)" = "$want" ] ||
  fail 'a quarter of the books and a quarter of the articles'
refuses 3 'train_percentage' "$hoplab" run texts.lua -s data.train=wikitext_2 -s data.train_percentage=0
refuses 3 'are none; use more' "$hoplab" run texts.lua -s data.train=half.txt -s data.train_percentage=0.1

finish
