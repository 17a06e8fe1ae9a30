"""Ways to write a date in English, for the generated task `dates`.

The names are written out here because `calendar` and `strftime` follow the locale of the machine.
"""

from collections.abc import Callable
from datetime import date

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
    "twentieth", "twenty first", "twenty second", "twenty third", "twenty fourth", "twenty fifth", "twenty sixth",
    "twenty seventh", "twenty eighth", "twenty ninth", "thirtieth", "thirty first",
)  # fmt: skip


def number_in_words(number: int) -> str:
    """0 to 99: `eighty four`."""
    if number < 20:
        return ONES[number]
    tens, ones = divmod(number, 10)
    return f"{TENS[tens]} {ONES[ones]}" if ones else TENS[tens]


def year_in_words(year: int) -> str:
    """1100 to 2999, as it is said: `nineteen eighty four`, `nineteen oh four`, `nineteen hundred`, `two thousand`."""
    century, rest = divmod(year, 100)
    if century % 10 == 0 and rest < 10:
        return f"{ONES[century // 10]} thousand {ONES[rest]}" if rest else f"{ONES[century // 10]} thousand"
    if rest == 0:
        return f"{number_in_words(century)} hundred"
    return f"{number_in_words(century)} {'oh ' if rest < 10 else ''}{number_in_words(rest)}"


def ordinal_number(day: int) -> str:
    """1 to 31: `1st`, `22nd`, `13th`."""
    ending = "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def _in_words(day: date) -> str:
    return f"the {ORDINALS[day.day - 1]} of {MONTHS[day.month - 1]} {year_in_words(day.year)}"


def _in_words_month_first(day: date) -> str:
    return f"{MONTHS[day.month - 1]} the {ORDINALS[day.day - 1]} , {year_in_words(day.year)}"


def _month_first(day: date) -> str:
    return f"{MONTHS[day.month - 1]} {day.day} , {day.year}"


def _day_first(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _with_weekday(day: date) -> str:
    return f"{WEEKDAYS[day.weekday()].title()}, {day.day} {MONTHS[day.month - 1].title()} {day.year}"


def _short(day: date) -> str:
    return f"{WEEKDAYS[day.weekday()][:3].title()} {day.day} {MONTHS[day.month - 1][:3].title()} {day.year}"


def _ordinal_month_first(day: date) -> str:
    return f"{MONTHS[day.month - 1].title()} {ordinal_number(day.day)}, {day.year}"


def _ordinal_day_first(day: date) -> str:
    return f"the {ordinal_number(day.day)} of {MONTHS[day.month - 1].title()}, {day.year}"


STYLES: tuple[Callable[[date], str], ...] = (
    _in_words,  # the fifth of march nineteen eighty four
    _in_words_month_first,  # march the fifth , nineteen eighty four
    _month_first,  # march 5 , 1984
    _day_first,  # 5 march 1984
    _with_weekday,  # Monday, 5 March 1984
    _short,  # Mon 5 Mar 1984
    _ordinal_month_first,  # March 5th, 1984
    _ordinal_day_first,  # the 5th of March, 1984
)
