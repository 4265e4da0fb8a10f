/* The table of public data sets. Sums and sizes are those of files that were looked at, or that
 * others have published for these addresses; where neither is so they are absent, for a guess would
 * refuse a good file. */
#include "data/fetch/sets.h"

#include <string.h>
#include <strings.h>

#include "engine/base/fs.h"
#include "engine/base/mem.h"
#include "engine/base/str.h"

static const hl_set_file wikitext_2[] = {
    {"text/wikitext-2-raw-v1.zip",
     4721645,
     "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
     {"https://huggingface.co/datasets/ggml-org/ci/resolve/main/wikitext-2-raw-v1.zip",
      "https://wikitext.smerity.com/wikitext-2-raw-v1.zip"}},
};

static const hl_set_file wikitext_103[] = {
    {"text/wikitext-103-raw-v1.zip",
     191984949,
     "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
     {"https://wikitext.smerity.com/wikitext-103-raw-v1.zip",
      "https://huggingface.co/datasets/mattdangerw/wikitext-103-raw/resolve/main/"
      "wikitext-103-raw-v1.zip"}},
};

static const hl_set_file bookcorpus[] = {
    {"text/bookcorpus.tar.bz2",
     -1,
     NULL,
     {"https://storage.googleapis.com/huggingface-nlp/datasets/bookcorpus/bookcorpus.tar.bz2"}},
};

static const hl_set_file tinyshakespeare[] = {
    {"text/tinyshakespeare/input.txt",
     1115394,
     "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
     {"https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
      "https://github.com/karpathy/char-rnn/raw/master/data/tinyshakespeare/input.txt"}},
};

static const hl_set_file war_and_peace[] = {
    {"text/war-and-peace/input.txt",
     -1,
     NULL,
     {"https://cs.stanford.edu/people/karpathy/char-rnn/warpeace_input.txt"}},
};

static const hl_set_file mnist[] = {
    {"mnist/train-images-idx3-ubyte.gz",
     9912422,
     "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
     {"https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
      "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz"}},
    {"mnist/train-labels-idx1-ubyte.gz",
     28881,
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
     {"https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
      "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz"}},
    {"mnist/t10k-images-idx3-ubyte.gz",
     1648877,
     "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
     {"https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
      "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-images-idx3-ubyte.gz"}},
    {"mnist/t10k-labels-idx1-ubyte.gz",
     4542,
     "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
     {"https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
      "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz"}},
};

static const hl_set_file fashion_mnist[] = {
    {"fashion-mnist/train-images-idx3-ubyte.gz",
     26421880,
     "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
     {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
      "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
      "train-images-idx3-ubyte.gz"}},
    {"fashion-mnist/train-labels-idx1-ubyte.gz",
     29515,
     "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
     {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
      "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
      "train-labels-idx1-ubyte.gz"}},
    {"fashion-mnist/t10k-images-idx3-ubyte.gz",
     4422102,
     "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
     {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
      "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
      "t10k-images-idx3-ubyte.gz"}},
    {"fashion-mnist/t10k-labels-idx1-ubyte.gz",
     5148,
     "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
     {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
      "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
      "t10k-labels-idx1-ubyte.gz"}},
};

static const hl_set_file emnist[] = {
    {"emnist/gzip.zip",
     561753746,
     "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
     {"https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
      "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip"}},
};

static const hl_set_file cifar_10[] = {
    {"cifar/cifar-10-binary.tar.gz",
     170052171,
     "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
     {"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"}},
};

static const hl_set_file cifar_100[] = {
    {"cifar/cifar-100-binary.tar.gz",
     168513733,
     "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
     {"https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"}},
};

static const hl_set_file etth1[] = {
    {"timeseries/ETTh1.csv",
     2589657,
     "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
     {"https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv",
      "https://github.com/zhouhaoyi/ETDataset/raw/main/ETT-small/ETTh1.csv"}},
};

static const hl_set_file etth2[] = {
    {"timeseries/ETTh2.csv",
     2417960,
     "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
     {"https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh2.csv",
      "https://github.com/zhouhaoyi/ETDataset/raw/main/ETT-small/ETTh2.csv"}},
};

static const hl_set_file ettm1[] = {
    {"timeseries/ETTm1.csv",
     10360719,
     "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
     {"https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTm1.csv",
      "https://github.com/zhouhaoyi/ETDataset/raw/main/ETT-small/ETTm1.csv"}},
};

static const hl_set_file wth[] = {
    {"timeseries/WTH.csv",
     2109091,
     "153fead3ea2a83dc5c4127d3994af6b167322f6f5e292c99491f43a2caf14cd4",
     {"https://raw.githubusercontent.com/MAGICS-LAB/STanHop/HEAD/datasets/WTH.csv",
      "https://github.com/MAGICS-LAB/STanHop/raw/HEAD/datasets/WTH.csv"}},
};

static const hl_set_file ili[] = {
    {"timeseries/national_illness.csv",
     67620,
     "93601f64d2566dc796ca4305adad8b8560c2db1a1ff04543c3bd813a7263570a",
     {"https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/illness/"
      "national_illness.csv",
      "https://hf-mirror.com/datasets/thuml/Time-Series-Library/resolve/main/illness/"
      "national_illness.csv"}},
};

static const hl_set_file ecl[] = {
    {"timeseries/electricity.csv",
     -1,
     NULL,
     {"https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/electricity/"
      "electricity.csv"}},
};

static const hl_set_file traffic[] = {
    {"timeseries/traffic.csv",
     -1,
     "cb06463d56fa17d87f47027cd9389ceae82a69eddee51cdb61480e120dab0b16",
     {"https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/traffic/traffic.csv",
      "https://hf-mirror.com/datasets/thuml/Time-Series-Library/resolve/main/traffic/traffic.csv"}},
};

#define FILES(x) .files = (x), .n_files = sizeof(x) / sizeof(x)[0]

static const hl_set sets[] = {
    {.name = "wikitext-2-raw-v1",
     .what = "Wikipedia articles as they are written, 13 MB; training, validation, test",
     .licence = "CC BY-SA 3.0, Wikipedia's authors; set by Salesforce Research",
     .note = "unpack it: unzip text/wikitext-2-raw-v1.zip -d text; then data.train is "
             "text/wikitext-2-raw/wiki.train.raw",
     FILES(wikitext_2)},
    {.name = "wikitext-103-raw-v1",
     .what = "the same, 540 MB",
     .licence = "CC BY-SA 3.0, Wikipedia's authors; set by Salesforce Research",
     .note = "unpack it: unzip text/wikitext-103-raw-v1.zip -d text; then data.train is "
             "text/wikitext-103-raw/wiki.train.raw",
     FILES(wikitext_103)},
    {.name = "bookcorpus",
     .what = "74 million sentences of unpublished novels, lower case, one on a line, 4.8 GB",
     .licence =
         "none given: the rights are the novels' authors'; research only, not to be passed on",
     .note = "unpack it: tar xjf text/bookcorpus.tar.bz2 -C text; then data.train is its "
             "books_large_p1.txt and books_large_p2.txt",
     FILES(bookcorpus)},
    {
        .name = "wiki40b",
        .what = "cleaned Wikipedia articles, English part, 2.9 million",
        .licence = "CC BY-SA 3.0, Wikipedia's authors; set by Google",
        .note = "it is published as Parquet and TFRecord only, which are not read here: export its "
                "column text to JSONL (one object {\"text\": ...} on a line, .gz if you like) with "
                "any Parquet tool and name that file",
    },
    {.name = "tinyshakespeare",
     .what = "excerpts of Shakespeare's plays, 1.1 MB",
     .licence = "public domain",
     FILES(tinyshakespeare)},
    {.name = "war-and-peace",
     .what = "Tolstoy, War and Peace, translated by L. and A. Maude, 3.2 MB",
     .licence = "public domain",
     FILES(war_and_peace)},
    {.name = "mnist",
     .what = "handwritten digits, 60000 + 10000 of 28 x 28",
     .licence = "CC BY-SA 3.0, Yann LeCun, Corinna Cortes, Christopher Burges",
     FILES(mnist)},
    {.name = "fashion-mnist",
     .what = "pictures of clothes, 60000 + 10000 of 28 x 28, ten classes",
     .licence = "MIT, Zalando SE",
     .note = "read with data.set = \"mnist\" and data.dir: the files have the names of MNIST",
     FILES(fashion_mnist)},
    {.name = "emnist-mnist",
     .what = "handwritten digits, 60000 + 10000 of 28 x 28, stored transposed; in an archive with "
             "the other EMNIST sets",
     .licence = "public domain, NIST; Gregory Cohen and others",
     .note = "unpack it: unzip -j emnist/gzip.zip 'gzip/emnist-mnist-*' -d emnist",
     FILES(emnist)},
    {.name = "cifar-10",
     .what = "colour pictures, 50000 + 10000 of 32 x 32, ten classes, binary version",
     .licence = "none given, Alex Krizhevsky; free to use with citation",
     .note = "unpack it: tar xzf cifar/cifar-10-binary.tar.gz -C cifar; then data.set is "
             "\"cifar-10\"",
     FILES(cifar_10)},
    {.name = "cifar-100",
     .what = "the same with a hundred classes, binary version",
     .licence = "none given, Alex Krizhevsky; free to use with citation",
     .note = "unpack it: tar xzf cifar/cifar-100-binary.tar.gz -C cifar; then data.set is "
             "\"cifar-100\"",
     FILES(cifar_100)},
    {.name = "ETTh1",
     .what = "transformer temperature and loads, hourly, 17420 x 7",
     .licence = "CC BY-ND 4.0, Zhou and others (Informer, AAAI 2021): pass on unchanged only",
     FILES(etth1)},
    {.name = "ETTh2",
     .what = "the same of a second transformer, hourly, 17420 x 7",
     .licence = "CC BY-ND 4.0, Zhou and others (Informer, AAAI 2021): pass on unchanged only",
     FILES(etth2)},
    {.name = "ETTm1",
     .what = "the first transformer every 15 minutes, 69680 x 7",
     .licence = "CC BY-ND 4.0, Zhou and others (Informer, AAAI 2021): pass on unchanged only",
     FILES(ettm1)},
    {.name = "WTH",
     .what = "weather of US stations, hourly, 35064 x 12",
     .licence = "public domain, NOAA/NCEI; this copy: MIT, STanHop",
     FILES(wth)},
    {.name = "ECL",
     .what = "electricity of 321 clients, hourly",
     .licence = "CC BY 4.0, UCI (ElectricityLoadDiagrams20112014)",
     FILES(ecl)},
    {.name = "ILI",
     .what = "influenza-like illness in the US, weekly, 966 x 7",
     .licence = "public domain, CDC",
     .note = "this copy has CRLF line ends; one with LF ends has the same values",
     FILES(ili)},
    {.name = "traffic",
     .what = "occupancy of 862 lanes in the San Francisco Bay Area, hourly",
     .licence = "public, California Department of Transportation (PeMS)",
     FILES(traffic)},
};

enum { N_SETS = sizeof sets / sizeof sets[0] };

const hl_set *hl_set_at(size_t i)
{
    return i < N_SETS ? &sets[i] : NULL;
}

const hl_set *hl_set_find(const char *name)
{
    for (int i = 0; i < N_SETS; i++)
        if (strcasecmp(sets[i].name, name) == 0)
            return &sets[i];
    return NULL;
}

const char *hl_set_nearest(const char *name)
{
    const char *names[N_SETS];
    for (int i = 0; i < N_SETS; i++)
        names[i] = sets[i].name;
    const int near = hl_str_nearest(name, names, N_SETS);
    return near >= 0 ? names[near] : NULL;
}

/* The other of the two names that a file may have. Owned. */
static char *twin_of(const char *path)
{
    hl_str twin = {0};
    if (hl_str_ends(path, ".gz"))
        return hl_strndup(path, strlen(path) - 3);
    hl_str_addf(&twin, "%s.gz", path);
    if (hl_str_status(&twin) == HL_OK)
        return twin.s;
    hl_str_done(&twin);
    return NULL;
}

char *hl_set_path(const char *dir, const hl_set_file *file, bool *is_there)
{
    char *path = hl_fs_join(dir, file->path), *twin = path ? twin_of(path) : NULL;
    *is_there = false;
    if (!path || !twin) {
        hl_free(path);
        return NULL;
    }
    if (!hl_fs_exists(path) && hl_fs_exists(twin)) {
        hl_free(path);
        *is_there = true;
        return twin;
    }
    hl_free(twin);
    *is_there = hl_fs_exists(path);
    return path;
}
