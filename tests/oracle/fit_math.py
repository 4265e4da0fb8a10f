#!/usr/bin/env python3
"""Fits the polynomials of kernels/vec/math_body.h again and compares.

  fit_math.py [math_body.h]

Each is the minimax polynomial of a weighted error, found by the exchange method of Remez (E. Ya.
Remez 1934) in 40 digits. The script prints coefficients and largest errors, reads the numbers in
the header and says how far they are. Needs Python with mpmath. Exit status: 0 every coefficient agrees,
1 one does not, 2 the header could not be read.
"""
import os
import re
import sys

import mpmath as mp

mp.mp.dps = 40
AGREES = mp.mpf("3e-8")  # of the largest coefficient or 1; fits on doubles are worth no more


def solve(f, weight, points):
    """Polynomial whose weighted error has one size and alternating sign at the points."""
    n = len(points) - 1
    rows, right = mp.matrix(n + 1, n + 1), mp.matrix(n + 1, 1)
    for i, x in enumerate(points):
        for j in range(n):
            rows[i, j] = x**j
        rows[i, n] = (-1) ** i / weight(x)
        right[i] = f(x)
    found = mp.lu_solve(rows, right)
    return [found[j] for j in range(n)], abs(found[n])


def evaluate(coefficients, x):
    return mp.polyval(coefficients[::-1], x)


def peak(error, left, x, right):
    """Where |error| is largest in [left, right], starting at x: golden-section steps."""
    ratio = (mp.sqrt(5) - 1) / 2
    a, b = left, right
    for _ in range(60):
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        if abs(error(c)) > abs(error(d)):
            b = d
        else:
            a = c
    best = (a + b) / 2
    return best if abs(error(best)) > abs(error(x)) else x


def extrema(error, low, high, n, grid=4000):
    """The n points of alternating sign with the largest errors."""
    xs = [low + (high - low) * (1 - mp.cos(mp.pi * i / grid)) / 2 for i in range(grid + 1)]
    es = [error(x) for x in xs]
    runs = []  # the best grid point of each run of one sign
    for i, e in enumerate(es):
        if runs and (es[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(es[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    if len(runs) < n:
        raise ArithmeticError(f"only {len(runs)} alternations, {n} wanted")
    while len(runs) > n:  # drop the smaller end
        runs.pop(0 if abs(es[runs[0]]) < abs(es[runs[-1]]) else -1)
    return [peak(error, xs[max(i - 1, 0)], xs[i], xs[min(i + 1, grid)]) for i in runs]


def minimax(f, weight, low, high, degree):
    """Coefficients and largest error."""
    n = degree + 2
    low, high = mp.mpf(low), mp.mpf(high)
    points = [low + (high - low) * (1 - mp.cos(mp.pi * i / (n - 1))) / 2 for i in range(n)]
    for _ in range(30):
        coefficients, level = solve(f, weight, points)

        def error(x):
            return weight(x) * (evaluate(coefficients, x) - f(x))

        points = extrema(error, low, high, n)
        largest = max(abs(error(x)) for x in points)
        if largest / level - 1 < mp.mpf("1e-10"):
            return coefficients, largest
    raise ArithmeticError("the exchange does not settle")


# Near 0 the quotients cancel: their series there.
def erf_quotient(t):
    x = mp.sqrt(t)
    return 2 / mp.sqrt(mp.pi) * (1 - t / 3) if x < 1e-12 else mp.erf(x) / x


def tanh_quotient(t):
    x = mp.sqrt(t)
    return 1 - t / 3 if x < 1e-12 else mp.tanh(x) / x


def log_quotient(f):
    with mp.workdps(80):
        small = abs(f) < mp.mpf("1e-15")
        return mp.mpf(1) / 3 - f / 4 if small else (mp.log1p(f) - f + f * f / 2) / f**3


def log_weight(f):
    return abs(f) ** 2 if abs(f) < mp.mpf("1e-15") else abs(f**3 / mp.log1p(f)) + mp.mpf("1e-25")


half_ln2 = mp.log(2) / 2
# Name, function, weight, interval, degree, the function of the header and which of its polynomials.
FITS = [
    ("exp(x), relative error", mp.exp, lambda x: mp.exp(-x),
     -half_ln2, half_ln2, 6, "exp_reduced", "p"),
    ("erf(x)/x in x^2 <= 0.84, relative error", erf_quotient, lambda t: 1 / erf_quotient(t),
     0, "0.84", 5, "erf", "s"),
    ("log(erfc(x)), error of erf relative", lambda x: mp.log(mp.erfc(x)),
     lambda x: mp.erfc(x) / mp.erf(x), "0.88", "4.05", 7, "erf", "q"),
    ("tanh(x)/x in x^2 <= 0.64^2, relative error", tanh_quotient,
     lambda t: 1 / tanh_quotient(t), 0, "0.4096", 5, "tanh", "s"),
    ("(log(1+f) - f + f^2/2) / f^3, error of log relative", log_quotient, log_weight,
     mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1, 7, "log_reduced", "p"),
]


def in_header(text, function, variable):
    """Coefficients in the Horner chain of a variable, highest power first."""
    body = re.search(r"HL_HD float hl_%s\(float [^)]*\)\n\{(.*?)\n\}" % function, text, re.S)
    if not body:
        return []
    number = r"(-?\s*\d[\d.]*(?:e[-+]?\d+)?)f"
    found = re.search(r"float %s = %s;" % (variable, number), body[1])
    if not found:
        return []
    values = [found[1]]
    step = r"\n    %s = %s \* \w+ ([-+]) %s;" % (variable, variable, number)
    for sign, v in re.findall(step, body[1]):
        values.append(sign + v.replace(" ", "") if not v.startswith("-") else v)
    return [mp.mpf(v.replace("+-", "-").lstrip("+")) for v in values]


def main():
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(top, "kernels/vec/math_body.h")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as e:
        print(e, file=sys.stderr)
        return 2
    status = 0
    for name, f, weight, low, high, degree, function, variable in FITS:
        coefficients, largest = minimax(f, weight, low, high, degree)
        have = in_header(text, function, variable)
        print(f"{name}: degree {degree}, largest error {mp.nstr(largest, 4)}")
        if len(have) not in (degree, degree + 1):
            print(f"  hl_{function}: {len(have)} coefficients of '{variable}' found in the header")
            status = max(status, 2)
            continue
        have += [mp.mpf(1)] * (degree + 1 - len(have))  # tanh: x itself is the constant term
        for power in range(degree, -1, -1):
            fitted, used = coefficients[power], have[degree - power]
            distance = abs(fitted - used) / max(1, abs(fitted))
            bad = distance > AGREES
            status = max(status, int(bad))
            print(f"  {power}  {mp.nstr(fitted, 13):>20}  header {mp.nstr(used, 13):>20}"
                  f"  off by {mp.nstr(distance, 2)}{'  <-- differs' if bad else ''}")
    return status


if __name__ == "__main__":
    sys.exit(main())
