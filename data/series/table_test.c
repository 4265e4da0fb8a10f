/* CSV files in the forms that they come in, damaged ones, and generated tables. */
#include "data/series/table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <zlib.h>

#include "data/data_test.h"
#include "engine/base/rng.h"

static hl_status read_text(const char *text, bool has_dates, hl_table *t)
{
    const char *path = write_temp("t.csv", text, strlen(text));
    cr_assert(path != NULL);
    hl_status st = hl_table_read(path, has_dates, t);
    remove(path);
    return st;
}

static void check_small(const char *what, const char *text)
{
    static const double want[] = {1, 2.5, -3e2, 4, 0.125, 6};
    hl_table t;
    cr_assert_eq(read_text(text, true, &t), HL_OK, "%s: %s", what, hl_err_message());
    cr_assert(t.n_rows == 3 && t.n_columns == 2, "%s: %lld x %lld", what, (long long)t.n_rows,
              (long long)t.n_columns);
    cr_expect(strcmp(t.names[0], "a") == 0 && strcmp(t.names[1], "b c") == 0, "%s", what);
    cr_expect_eq(memcmp(t.at, want, sizeof want), 0, "%s", what);
    cr_expect_eq(t.n_missing, 0);
    cr_expect_str_eq(t.first_date, "2020-01-01 00:00:00");
    cr_expect_str_eq(t.last_date, "2020-01-01 02:00:00");
    cr_expect(t.step_s == 3600 && t.n_uneven == 0, "%s: step %g", what, t.step_s);
    hl_table_done(&t);
}

#define D0 "2020-01-01 00:00:00"
#define D1 "2020-01-01 01:00:00"
#define D2 "2020-01-01 02:00:00"

Test(table, all_forms_give_the_same_numbers)
{
    check_small("LF", "date,a,b c\n" D0 ",1,2.5\n" D1 ",-3e2,4\n" D2 ",.125,6\n");
    check_small("CRLF", "date,a,b c\r\n" D0 ",1,2.5\r\n" D1 ",-3e2,4\r\n" D2 ",.125,6\r\n");
    check_small("no end", "date,a,b c\n" D0 ",1,2.5\n" D1 ",-3e2,4\n" D2 ",.125,6");
    check_small("mark", "\xEF\xBB\xBF"
                        "date,a,b c\n" D0 ",1,2.5\n" D1 ",-3e2,4\n" D2 ",.125,6\n");
    check_small("semicolons", "date;a;b c\n" D0 ";1;2.5\n" D1 ";-3e2;4\n" D2 ";.125;6\n");
    check_small("tabs", "date\ta\tb c\n" D0 "\t1\t2.5\n" D1 "\t-3e2\t4\n" D2 "\t.125\t6\n");
    check_small("comments, blank lines", "# made by hand\n\ndate,a,b c\n  # of units\n" D0
                                         ",1,2.5\n\n\n" D1 ",-3e2,4\n" D2 ",.125,6\n#end\n \n");
    check_small("quotes, blanks", "\"date\",\"a\", \"b c\" \n\"" D0 "\", 1 ,\"2.5\"\n" D1
                                  ",-3e2,4\n" D2 ",+.125,6.\n");
    check_small("cut last line", "date,a,b c\n" D0 ",1,2.5\n" D1 ",-3e2,4\n" D2 ",.125,6\n2020-0");
    check_small("cut last number",
                "date,a,b c\n" D0 ",1,2.5\n" D1 ",-3e2,4\n" D2 ",.125,6\n2020-01-01 03:00:00,1,-");
}

Test(table, missing_cells_and_tables_without_dates)
{
    hl_table t;
    cr_assert_eq(read_text("d,a,b\n1,,2\n2,NaN,na\n3,NULL, \n", true, &t), HL_OK, "%s",
                 hl_err_message());
    cr_expect(t.n_rows == 3 && t.n_missing == 5 && t.at[1] == 2 && t.step_s == 0);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(isnan(t.at[i]) != 0, i != 1);
    hl_table_done(&t);
    cr_assert_eq(read_text("a,b\n1,2\n3,4\n", false, &t), HL_OK);
    cr_expect(t.n_columns == 2 && t.at[3] == 4 && t.first_date == NULL);
    hl_table_done(&t);
}

Test(table, dates)
{
    static const struct {
        const char *text;
        double seconds; /* -1: no date */
    } all[] = {
        {"1970-01-01", 0},
        {"1970-01-02 00:00:01", 86401},
        {"2016-07-01 00:00:00", 1467331200},
        {"2016-07-01T00:15Z", 1467332100},
        {"1/1/2010 0:00", 1262304000},
        {"12/31/2013 23:00", 1388530800},
        {"2016/07/01 00:00", 1467331200},
        {"2000-02-29", 951782400},
        {"1969-12-31 23:59:59.25", -1}, /* before 1970: -1 is the right answer */
        {"7", -1},
        {"2016-13-01", -1},
        {"2016-07-01 25:00", -1},
        {"2016-07-01 1", -1},
        {"yesterday", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        double s = -1;
        const bool is_date = hl_table_date(all[i].text, &s);
        cr_expect_eq(is_date ? s : -1, all[i].seconds, "%s: %.0f", all[i].text, s);
    }
    hl_table t;
    cr_assert_eq(read_text("date,a\n1/1/2010 0:00,1\n1/1/2010 1:00,1\n1/1/2010 3:00,1\n"
                           "1/1/2010 4:00,1\n",
                           true, &t),
                 HL_OK);
    cr_expect(t.step_s == 3600 && t.n_uneven == 1, "%g, %lld", t.step_s, (long long)t.n_uneven);
    hl_table_done(&t);
    static const double steps[] = {0, 900, 3600, 86400, 7 * 86400, 7, 2 * 86400};
    static const int64_t periods[] = {0, 96, 24, 7, 52, 0, 0};
    for (int i = 0; i < 7; i++)
        cr_expect_eq(hl_table_period(&(hl_table){.step_s = steps[i]}), periods[i]);
}

Test(table, bad_files_are_named_with_line_and_column)
{
    static const struct {
        const char *text, *says;
        bool has_dates;
    } bad[] = {
        {"date,a,b\n1,2,3\n2,x,3\n3,4,5\n", "line 3, column 2 ('a'): 'x' is no number", true},
        {"date,a,b\n1,2,3\n2,3,4x\n", "line 3, column 3 ('b'): '4x'", true},
        {"date,a\n1,inf\n", "'inf' is no number", true},
        {"date,a\n1,0x10\n", "'0x10' is no number", true},
        {"date,a\n1,1e999\n", "'1e999' is no number", true},
        {"date,a\n1,1,5\n2,3\n", "line 2 has 3 cells; the header has 2", true},
        {"date,a,b\n1,2\n2,3,4\n", "line 2 has 2 cells; the header has 3", true},
        {"", "is empty", true},
        {"# only a comment\n\n", "is empty", true},
        {"date,a\n", "has no rows", true},
        {"date\n1\n", "one column", true},
        {"1,2,3\n4,5,6\n", "begins with numbers", true},
        {"a;b\n1,5;2\n", "line 2, column 1 ('a'): '1,5'", false},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hl_table t;
        cr_expect_eq(read_text(bad[i].text, bad[i].has_dates, &t), HL_E_FORMAT, "case %zu", i);
        cr_expect(strstr(hl_err_message(), bad[i].says) && strstr(hl_err_message(), "t.csv"),
                  "case %zu: %s", i, hl_err_message());
    }
    hl_table t;
    cr_expect_eq(hl_table_read("/nowhere/t.csv", true, &t), HL_E_NOTFOUND);
    const char *path = write_temp("n.csv", "a,b\n1,\0002\n", 9);
    cr_expect_eq(hl_table_read(path, true, &t), HL_E_FORMAT);
    cr_expect(strstr(hl_err_message(), "NUL"), "%s", hl_err_message());
    remove(path);
}

/* Any damage gives a table or a message, and a table is whole. */
Test(table, damage)
{
    static const char text[] = "date,a,\"b c\"\r\n" D0 ",1,2.5\r\n# x\n" D1 ",,4\n" D2 ",.125,6\n";
    static const char marks[] = ",;\"\n\r#\0 .-eN9\xFF";
    hl_rng r = hl_rng_make(1, HL_RNG_TEST, 0, 0);
    int n_read = 0;
    for (int k = 0; k < 20000; k++) {
        char mine[sizeof text + 1];
        memcpy(mine, text, sizeof text);
        for (uint32_t n = 1 + hl_rng_below(&r, 3); n > 0; n--)
            mine[hl_rng_below(&r, sizeof text - 1)] = marks[hl_rng_below(&r, sizeof marks - 1)];
        hl_table t;
        const size_t n = 1 + hl_rng_below(&r, sizeof text - 1);
        mine[n] = '\0';
        if (hl_table_parse("d.csv", mine, n, k % 4 != 0, &t) != HL_OK) {
            cr_assert(strstr(hl_err_message(), "d.csv"), "%s", hl_err_message());
            continue;
        }
        n_read++;
        int64_t n_missing = 0;
        cr_assert(t.n_rows > 0 && t.n_columns > 0);
        for (int64_t i = 0; i < t.n_rows * t.n_columns; i++) {
            cr_assert(!isinf(t.at[i]));
            n_missing += isnan(t.at[i]) != 0;
        }
        cr_assert_eq(n_missing, t.n_missing);
        hl_table_done(&t);
    }
    cr_assert(n_read > 100, "%d", n_read);
}

Test(table, packed)
{
    static const char text[] = "date,a\n1,5\n2,6\n";
    hl_table t;
    const char *path = write_temp("p.csv.gz", "", 0);
    gzFile f = gzopen(path, "wb");
    cr_assert(f && gzwrite(f, text, sizeof text - 1) == sizeof text - 1 && gzclose(f) == Z_OK);
    cr_assert_eq(hl_table_read(path, true, &t), HL_OK, "%s", hl_err_message());
    cr_expect(t.n_rows == 2 && t.at[1] == 6);
    hl_table_done(&t);
    remove(path);
}

/* What a forecast can learn is there: the day before is nearer than noise, columns are coupled. */
Test(table, generated)
{
    hl_table_made how = hl_table_made_default();
    hl_table t, longer;
    how.n_rows = 2000;
    cr_assert_eq(hl_table_make(&how, &t), HL_OK);
    double day = 0, half = 0, n = 0;
    for (int64_t r = 24; r < t.n_rows; r++)
        for (int64_t c = 0; c < t.n_columns; c++, n++) {
            const double v = t.at[r * t.n_columns + c];
            day += fabs(v - t.at[(r - 24) * t.n_columns + c]) / 2000;
            half += fabs(v - t.at[(r - 12) * t.n_columns + c]) / 2000;
        }
    cr_expect(day < half / 2, "%g, %g", day, half);
    how.n_rows = 2500;
    how.n_columns = 9;
    how.gaps = 0.1;
    cr_assert_eq(hl_table_make(&how, &longer), HL_OK);
    int64_t n_missing = 0;
    for (int64_t i = 0; i < longer.n_rows * longer.n_columns; i++) {
        const int64_t r = i / 9, c = i % 9;
        n_missing += isnan(longer.at[i]) != 0;
        if (r < t.n_rows && c < t.n_columns && !isnan(longer.at[i]))
            cr_assert_eq(longer.at[i], t.at[r * t.n_columns + c]);
    }
    cr_expect_eq(n_missing, longer.n_missing);
    const double share = (double)n_missing / (2500 * 9);
    cr_expect(share > 0.07 && share < 0.13, "%g", share);
    hl_table_done(&t);
    hl_table_done(&longer);
    how.gaps = 0.9;
    cr_expect_eq(hl_table_make(&how, &t), HL_E_ARG);
    how.gaps = 0;
    how.n_columns = 0;
    cr_expect_eq(hl_table_make(&how, &t), HL_E_ARG);
}
