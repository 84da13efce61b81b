// The patterns of the formats: see formats.hpp. Regime: pure.
//
// RFC 3339 (dates and times; durations in its appendix A), RFC 5321 and 5322 (mail addresses), RFC 1123 (names of
// hosts), RFC 2673 and 4291 (addresses), RFC 3986 (URIs), RFC 4122 (UUIDs).
#include "src/core/constraint/formats.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace steadytext::core::constraint {

namespace {

// ---- dates and times -----------------------------------------------------------------------------------------------

#define MONTH_AND_DAY                                                                                                  \
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))"
#define TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d"
#define ZONE "(?:Z|[+-](?:0\\d|1[0-3]):[0-5]\\d)"  // PostgreSQL goes to 15:59
#define DATE "[1-9]\\d{3}-" MONTH_AND_DAY
// A separate check handles the 29th of February.
#define TAKEN_DATE "\\d{4}-(?:" MONTH_AND_DAY "|02-29)"
#define TAKEN_TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:(?:[0-5]\\d|60)(?:\\.\\d+)?"
#define TAKEN_ZONE "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"

int number(std::string_view digits) {
    int value = 0;
    (void)std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
}

// For a text that begins with a date: PostgreSQL has no year 0, and only leap years have a 29th of February.
bool is_in_calendar(std::string_view date) {
    const int year = number(date.substr(0, 4));
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year > 0 && (leap || date.substr(5, 5) != "02-29");
}

// A leap second is the last second of a day in UTC.
bool has_its_second(std::string_view time) {
    if (time.substr(6, 2) != "60")
        return true;
    int minute = number(time.substr(0, 2)) * 60 + number(time.substr(3, 2));
    if (const std::size_t sign = time.find_first_of("+-"); sign != std::string_view::npos) {
        const int offset = number(time.substr(sign + 1, 2)) * 60 + number(time.substr(sign + 4, 2));
        minute += time[sign] == '+' ? -offset : offset;
    }
    constexpr int kDay = 24 * 60;
    return (minute + kDay) % kDay == kDay - 1;
}

bool is_date_and_time(std::string_view text) { return is_in_calendar(text) && has_its_second(text.substr(11)); }

#define DURATION(digits)                                                                                               \
    "P(?:" digits "W|(?:" digits "Y(?:" digits "M(?:" digits "D)?)?|" digits "M(?:" digits "D)?|" digits               \
    "D)(?:" DURATION_TIME(digits) ")?|" DURATION_TIME(digits) ")"
#define DURATION_TIME(digits) "T(?:" digits "H(?:" digits "M(?:" digits "S)?)?|" digits "M(?:" digits "S)?|" digits "S)"

// ---- hosts and addresses --------------------------------------------------------------------------------------------

#define BYTE "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 BYTE "(?:\\." BYTE "){3}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                           \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32 "|(?:(?:" H16            \
    ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16      \
    ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16   \
    "|(?:(?:" H16 ":){0,6}" H16 ")?::)"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST LABEL "(?:\\." LABEL ")*"
#define SHORT_LABEL "[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
#define SHORT_HOST SHORT_LABEL "(?:\\." SHORT_LABEL "){1,3}"
#define ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"

bool is_short_enough_host(std::string_view host) { return host.size() <= 253; }
bool is_short_enough_address(std::string_view address) {
    return address.size() <= 254 && address.rfind('@') <= 64 &&
           is_short_enough_host(address.substr(address.rfind('@') + 1));
}

#define PERCENT "%[0-9A-Fa-f]{2}"
#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" PERCENT ")"
#define REGNAME "(?:[A-Za-z0-9._~!$&'()*+,;=-]|" PERCENT ")*"
#define USER "(?:[A-Za-z0-9._~!$&'()*+,;=:-]|" PERCENT ")*@"
#define FUTURE "[Vv][0-9A-Fa-f]+\\.[A-Za-z0-9._~!$&'()*+,;=:-]+"
#define AUTHORITY "(?:" USER ")?(?:\\[(?:" IPV6 "|" FUTURE ")\\]|" REGNAME ")(?::\\d*)?"
#define TAIL "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define URI                                                                                                            \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://" AUTHORITY "(?:/" PCHAR "*)*|/(?:" PCHAR "+(?:/" PCHAR "*)*)?|" PCHAR "+(?:/" PCHAR \
    "*)*|)" TAIL

#define UUID(digit) digit "{8}-" digit "{4}-" digit "{4}-" digit "{4}-" digit "{12}"

constexpr Format kFormats[] = {
    {"date", DATE, 10, 10, TAKEN_DATE, is_in_calendar},
    {"time", TIME ZONE, 9, 14, TAKEN_TIME TAKEN_ZONE, has_its_second},
    {"date-time", DATE "T" TIME ZONE, 20, 25, TAKEN_DATE "[Tt]" TAKEN_TIME TAKEN_ZONE, is_date_and_time},
    // PostgreSQL's types without time zone; the standard has no names for them.
    {"local-time", TIME, 8, 8, TAKEN_TIME},
    {"local-date-time", DATE "T" TIME, 19, 19, TAKEN_DATE "[Tt ]" TAKEN_TIME, is_in_calendar},
    {"duration", DURATION("\\d{1,4}"), 3, 32, DURATION("\\d+")},
    {"uuid", UUID("[0-9a-f]"), 36, 36, UUID("[0-9A-Fa-f]")},
    {"email", "[a-z0-9_+-]{1,30}(?:\\.[a-z0-9_+-]{1,30})?@" SHORT_HOST, 5, 193,
     "(?:" ATOM "+(?:\\." ATOM "+)*|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\")@(?:" HOST "|\\[(?:" IPV4 "|IPv6:" IPV6 ")\\])",
     is_short_enough_address},
    {"hostname", SHORT_HOST, 3, 131, HOST, is_short_enough_host},
    {"ipv4", IPV4, 7, 15, IPV4},
    {"ipv6", "(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|::1|::", 2, 39, IPV6},
    {"uri", "https?://" SHORT_HOST "(?:/[A-Za-z0-9._~-]{0,60}){0,4}(?:\\?[A-Za-z0-9._~=&-]{0,60})?", 10, 444, URI},
};

constexpr std::string_view kUnsupported[] = {
    "idn-email", "idn-hostname",          "iri",           "iri-reference", "json-pointer",
    "regex",     "relative-json-pointer", "uri-reference", "uri-template"};

}  // namespace

const Format *find_format(std::string_view name) {
    const auto *found = std::find_if(std::begin(kFormats), std::end(kFormats),
                                     [&](const Format &format) { return format.name == name; });
    return found == std::end(kFormats) ? nullptr : found;
}

bool is_unsupported_format(std::string_view name) {
    return std::find(std::begin(kUnsupported), std::end(kUnsupported), name) != std::end(kUnsupported);
}

}  // namespace steadytext::core::constraint
