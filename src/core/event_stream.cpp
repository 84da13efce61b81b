// Lines, fields, events: see event_stream.hpp. Regime: pure.
#include "src/core/event_stream.hpp"

#include <algorithm>
#include <utility>

namespace steadytext::core {

bool EventStream::next(std::string &data) {
    std::string_view line;
    while (take_line(line)) {
        if (!line.empty()) {
            take_field(line);
        } else if (!data_.empty()) {
            data_.pop_back();
            data = std::exchange(data_, {});
            return true;
        }
    }
    return false;
}

// Valid until the next call.
bool EventStream::take_line(std::string_view &line) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (after_return_ && at_ < bytes_.size()) {
        at_ += bytes_[at_] == '\n';
        after_return_ = false;
    }
    const std::size_t end = bytes_.find_first_of("\r\n", std::max(at_, looked_at_));
    if (end == std::string::npos) {
        bytes_.erase(0, std::exchange(at_, 0));
        looked_at_ = bytes_.size();
        return false;
    }
    line = std::string_view(bytes_).substr(at_, end - at_);
    after_return_ = bytes_[end] == '\r';
    at_ = end + 1;
    if (!std::exchange(has_begun_, true) && line.starts_with(kByteOrderMark))
        line.remove_prefix(kByteOrderMark.size());
    return true;
}

void EventStream::take_field(std::string_view line) {
    constexpr std::string_view kData = "data";
    if (!line.starts_with(kData))
        return;
    line.remove_prefix(kData.size());
    if (!line.empty() && line.front() != ':')
        return;  // a field with a longer name
    line.remove_prefix(line.empty() ? 0 : 1);
    line.remove_prefix(line.starts_with(' ') ? 1 : 0);
    data_.append(line).push_back('\n');
}

}  // namespace steadytext::core
