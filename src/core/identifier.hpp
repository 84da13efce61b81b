// Checks names of tables that come from a user. Regime: pure.
//
// Called by steadytext_validate_table_name, which also refuses PostgreSQL's reserved words, and for keys of
// steadytext_config.
#pragma once

#include <cstddef>
#include <string_view>

namespace steadytext::core {

inline constexpr std::size_t kMaxIdentifier = 63;

// A letter or underscore, then letters, digits and underscores, of ASCII.
[[nodiscard]] bool is_identifier(std::string_view name) noexcept;

// name or schema.name; neither part may belong to the system (pg_..., information_schema...), in any case of letters.
[[nodiscard]] bool is_table_name(std::string_view name) noexcept;

}  // namespace steadytext::core
