// The text of a request as it grows: finds stop strings across token boundaries and tells which bytes are safe to send.
//
// Used by the generator: each slot has a TextTail. Bytes are held back while they may begin a stop string or are an
// unfinished UTF-8 character. Regime: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::daemon {

class TextTail {
public:
    explicit TextTail(std::vector<std::string> stops) : stops_(std::move(stops)) {}

    static constexpr int kNoStop = -1;

    // Appends a piece; returns the index of the stop string that now ends the text (which is cut there), or kNoStop.
    [[nodiscard]] int append(std::string_view piece);

    // Returns the bytes that became safe since the last call; `ended`: no more text comes, so nothing is held back.
    [[nodiscard]] std::string take_safe(bool ended);

    [[nodiscard]] const std::string &text() const noexcept { return text_; }

private:
    [[nodiscard]] std::size_t held_back() const;

    std::vector<std::string> stops_;
    std::string text_;
    std::size_t sent_ = 0;
};

// As Python's str.strip() for ASCII.
[[nodiscard]] std::string_view strip(std::string_view text);

}  // namespace steadytext::daemon
