/* Dates for heads. */
#include "http/date.h"

#include <stdio.h>
#include <time.h>

#include "reactor/loop.h"

struct slice http_date_now(struct http_date *d)
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	uint64_t second = loop_wall_ms() / 1000;
	time_t now = (time_t)second;
	char text[96]; /* what the compiler believes the numbers might need */
	struct tm tm;

	if (second != d->second) {
		/* Not strftime(): the names of days and months do not follow the locale. */
		gmtime_r(&now, &tm);
		snprintf(text, sizeof(text), "%s, %02d %s %d %02d:%02d:%02d GMT", days[tm.tm_wday],
			 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
			 tm.tm_sec);
		memcpy(d->text, text, HTTP_DATE_BYTES);
		d->second = second;
	}
	return slice_of(d->text, HTTP_DATE_BYTES);
}
