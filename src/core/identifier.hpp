// Names of tables that come from a user. Regime: pure.
//
// Called by steadytext_validate_table_name, which refuses PostgreSQL's reserved words besides, and for keys of steadytext_config.
#pragma once

#include <cstddef>
#include <string_view>

namespace steadytext::core {

inline constexpr std::size_t kMaxIdentifier = 63;

// A letter or underscore, then letters, digits and underscores, of ASCII.
[[nodiscard]] bool is_identifier(std::string_view name) noexcept;

// name or schema.name; no part of the system's (pg_..., information_schema...), in whatever case.
[[nodiscard]] bool is_table_name(std::string_view name) noexcept;

}  // namespace steadytext::core
