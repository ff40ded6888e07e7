"""English: dates that sort, and the month by its name where the year does not matter."""

SHORT_DATE_FORMAT = "Y-m-d"
SHORT_DATETIME_FORMAT = "Y-m-d H:i"
MONTH_DAY_FORMAT = "M j, H:i"  # a time within the next weeks
