// Secrets that must not appear in an engine's words, as an engine may repeat parts of its request: keys, headers, the
// values of a query.
//
// Filled by bgworker/http_channel.cpp, used by openai.cpp and openai_failure.cpp. Regime: pure (may throw
// std::bad_alloc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

class Secrets {
public:
    // Adds a value as it is sent, and each long part of a value that has several ("Bearer ..."). A very short value is
    // no secret, as it occurs everywhere.
    void add(std::string_view value);
    // Adds the values of a query, as they are and with their %XX decoded.
    void add_query(std::string_view query);
    // Puts "***" in place of each secret; also in place of the beginning of a secret at the end of the words, where
    // they are cut.
    [[nodiscard]] std::string masked(std::string words) const;

private:
    std::vector<std::string> values_;
};

}  // namespace steadytext::core
