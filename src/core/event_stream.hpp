// Server-sent events, taken out of a stream of bytes that may be cut anywhere.
//
// Used by bgworker/http_transfer.*. Regime: pure (may throw std::bad_alloc). By the HTML standard, 9.2: lines end in
// LF, CRLF or CR, an empty line ends an event, the `data` fields of an event are joined line by line. A line that
// begins with a colon is a comment; other fields mean nothing to an engine's client. An event without its final blank
// line is ignored. The caller limits how much is kept.
#pragma once

#include <string>
#include <string_view>

namespace steadytext::core {

class EventStream {
public:
    void append(std::string_view bytes) { bytes_.append(bytes); }

    // The data of the oldest event not taken yet; false if no event is complete.
    [[nodiscard]] bool next(std::string &data);

private:
    [[nodiscard]] bool take_line(std::string_view &line);
    void take_field(std::string_view line);

    std::string bytes_;
    std::size_t at_ = 0;         // of the first line not taken
    std::size_t looked_at_ = 0;  // there is no line end between at_ and here
    std::string data_;           // of the current event, each line with its end
    bool has_begun_ = false;     // a first line came: only before it a byte order mark may stand
    bool after_return_ = false;  // the last line ended in CR: a following LF is part of its end
};

}  // namespace steadytext::core
