// What nobody may read in the words of an engine, which may repeat what it was asked with: keys, headers, the values of a query.
//
// Filled by bgworker/http_channel.cpp, asked by openai_failure.cpp. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

class Secrets {
public:
    // A value as it is sent, and each long part of one that has several ("Bearer ..."). What is very short is no secret, and stands everywhere.
    void add(std::string_view value);
    // The values of a query, as they are and with its %XX read.
    void add_query(std::string_view query);
    // "***" for each of them; also for the beginning of one at the end, where words are cut.
    [[nodiscard]] std::string masked(std::string words) const;

private:
    std::vector<std::string> values_;
};

}  // namespace steadytext::core
