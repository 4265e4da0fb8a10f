/* The words of the generated corpus. Order matters: earlier ones are drawn more often. */
#ifndef HL_DATA_SYNTH_WORDS_H
#define HL_DATA_SYNTH_WORDS_H

#include <stdbool.h>

#define N_OF(table) ((uint32_t)(sizeof(table) / sizeof *(table)))

#define N_TOPICS      8
#define N_TOPIC_NOUNS 10
#define N_TOPIC_VERBS 5

typedef struct noun {
    const char *one, *many;
} noun;

typedef struct verb {
    const char *many, *one, *past; /* present plural, present singular, past */
} verb;

typedef struct person {
    const char *name;
    bool is_female;
} person;

typedef struct topic {
    noun nouns[N_TOPIC_NOUNS];
    verb verbs[N_TOPIC_VERBS];
} topic;

/* clang-format off */
static const topic topics[N_TOPICS] = {
    {{{"farmer", "farmers"}, {"horse", "horses"}, {"field", "fields"}, {"barn", "barns"},
      {"cow", "cows"}, {"goose", "geese"}, {"plough", "ploughs"}, {"fence", "fences"},
      {"harvest", "harvests"}, {"orchard", "orchards"}},
     {{"feed", "feeds", "fed"}, {"plough", "ploughs", "ploughed"}, {"milk", "milks", "milked"},
      {"gather", "gathers", "gathered"}, {"drive", "drives", "drove"}}},
    {{{"sailor", "sailors"}, {"ship", "ships"}, {"wave", "waves"}, {"captain", "captains"},
      {"anchor", "anchors"}, {"island", "islands"}, {"gull", "gulls"}, {"rope", "ropes"},
      {"harbour", "harbours"}, {"lantern", "lanterns"}},
     {{"steer", "steers", "steered"}, {"sight", "sights", "sighted"},
      {"reach", "reaches", "reached"}, {"lower", "lowers", "lowered"},
      {"signal", "signals", "signalled"}}},
    {{{"teacher", "teachers"}, {"pupil", "pupils"}, {"book", "books"}, {"lesson", "lessons"},
      {"bench", "benches"}, {"slate", "slates"}, {"answer", "answers"}, {"window", "windows"},
      {"letter", "letters"}, {"question", "questions"}},
     {{"teach", "teaches", "taught"}, {"read", "reads", "read"}, {"copy", "copies", "copied"},
      {"correct", "corrects", "corrected"}, {"learn", "learns", "learned"}}},
    {{{"cook", "cooks"}, {"loaf", "loaves"}, {"knife", "knives"}, {"kettle", "kettles"},
      {"guest", "guests"}, {"onion", "onions"}, {"oven", "ovens"}, {"spoon", "spoons"},
      {"dish", "dishes"}, {"cellar", "cellars"}},
     {{"bake", "bakes", "baked"}, {"slice", "slices", "sliced"}, {"taste", "tastes", "tasted"},
      {"serve", "serves", "served"}, {"burn", "burns", "burned"}}},
    {{{"soldier", "soldiers"}, {"officer", "officers"}, {"tent", "tents"}, {"cannon", "cannons"},
      {"bridge", "bridges"}, {"order", "orders"}, {"enemy", "enemies"}, {"drum", "drums"},
      {"wagon", "wagons"}, {"flag", "flags"}},
     {{"guard", "guards", "guarded"}, {"attack", "attacks", "attacked"},
      {"cross", "crosses", "crossed"}, {"obey", "obeys", "obeyed"},
      {"surround", "surrounds", "surrounded"}}},
    {{{"singer", "singers"}, {"violin", "violins"}, {"song", "songs"}, {"dancer", "dancers"},
      {"stage", "stages"}, {"organ", "organs"}, {"chorus", "choruses"}, {"string", "strings"},
      {"curtain", "curtains"}, {"listener", "listeners"}},
     {{"play", "plays", "played"}, {"praise", "praises", "praised"}, {"tune", "tunes", "tuned"},
      {"hear", "hears", "heard"}, {"rehearse", "rehearses", "rehearsed"}}},
    {{{"hunter", "hunters"}, {"wolf", "wolves"}, {"tree", "trees"}, {"path", "paths"},
      {"owl", "owls"}, {"deer", "deer"}, {"hut", "huts"}, {"stream", "streams"},
      {"branch", "branches"}, {"shadow", "shadows"}},
     {{"follow", "follows", "followed"}, {"hide", "hides", "hid"}, {"climb", "climbs", "climbed"},
      {"track", "tracks", "tracked"}, {"frighten", "frightens", "frightened"}}},
    {{{"merchant", "merchants"}, {"basket", "baskets"}, {"coin", "coins"}, {"stall", "stalls"},
      {"carpet", "carpets"}, {"beggar", "beggars"}, {"price", "prices"}, {"street", "streets"},
      {"apple", "apples"}, {"thief", "thieves"}},
     {{"sell", "sells", "sold"}, {"buy", "buys", "bought"}, {"weigh", "weighs", "weighed"},
      {"carry", "carries", "carried"}, {"cheat", "cheats", "cheated"}}},
};
/* clang-format on */

/* of every topic */
static const verb common_verbs[] = {
    {"see", "sees", "saw"},          {"know", "knows", "knew"},
    {"watch", "watches", "watched"}, {"like", "likes", "liked"},
    {"find", "finds", "found"},      {"fear", "fears", "feared"},
    {"forget", "forgets", "forgot"}, {"remember", "remembers", "remembered"}};

static const verb still_verbs[] = {
    {"wait", "waits", "waited"},         {"sleep", "sleeps", "slept"},
    {"return", "returns", "returned"},   {"laugh", "laughs", "laughed"},
    {"fall", "falls", "fell"},           {"vanish", "vanishes", "vanished"},
    {"tremble", "trembles", "trembled"}, {"stay", "stays", "stayed"}};

static const verb speech_verbs[] = {{"say", "says", "said"},
                                    {"whisper", "whispers", "whispered"},
                                    {"reply", "replies", "replied"},
                                    {"insist", "insists", "insisted"}};

static const verb ask = {"ask", "asks", "asked"}, repeat = {"repeat", "repeats", "repeated"};

static const char *const adjectives[] = {"old",    "small", "quiet",  "dark",    "strange",
                                         "happy",  "empty", "broken", "young",   "heavy",
                                         "angry",  "white", "tired",  "clever",  "cold",
                                         "narrow", "proud", "early",  "foolish", "golden"};

static const char *const adverbs[] = {"again",     "slowly",      "at night", "without a word",
                                      "for hours", "in the rain", "at last",  "alone"};

static const char *const prepositions[] = {"near", "behind", "beside", "with", "under", "beyond"};

static const char *const joints[] = {"and", "but", "because", "while", "although"};

static const char *const syllables[] = {"ba", "ko", "ti", "ru", "ze",  "mo", "la", "pi",
                                        "du", "ne", "fa", "go", "shi", "wu", "xa", "yo"};

static const person people[] = {
    {"Anna", true},   {"Peter", false},    {"Natasha", true}, {"Andrew", false},
    {"Mary", true},   {"Nicholas", false}, {"Sonya", true},   {"Boris", false},
    {"Helene", true}, {"Dolokhov", false}, {"Vera", true},    {"Denis", false},
    {"Julie", true},  {"Basil", false},    {"Lise", true},    {"Ilya", false},
    {"Katya", true},  {"Anatole", false},  {"Olga", true},    {"Platon", false},
    {"Irina", true},  {"Simon", false},    {"Dunya", true},   {"Mikhail", false},
    {"Elena", true},  {"Thomas", false},   {"Clara", true},   {"Oscar", false},
    {"Martha", true}, {"Felix", false},    {"Rosa", true},    {"Victor", false}};

#endif
