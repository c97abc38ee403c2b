// The names and numbers of the prepared corpus on disk, for its writer (shards) and its reader (dataset) only.
// Described in docs/data.md.
#pragma once

#include <cstdint>
#include <string_view>

namespace govtrain::data_format {

inline constexpr char manifest_file[] = "manifest.json";
inline constexpr char tokens_file[] = "tokens.bin";
inline constexpr char documents_file[] = "documents.jsonl";
inline constexpr char excluded_file[] = "excluded.jsonl";
inline constexpr char prepare_file[] = "prepare.json";

inline constexpr char format_name[] = "govtrain-data";
inline constexpr uint32_t version = 1;
inline constexpr std::string_view magic = "GVTTOKNS";  // 8 bytes

// tokens.bin: a header of 64 bytes, all numbers little-endian, then the tokens.
inline constexpr size_t header_bytes = 64;
inline constexpr size_t at_version = 8;     // uint32
inline constexpr size_t at_width = 12;      // uint32, bytes per token: 2 or 4
inline constexpr size_t at_tokens = 16;     // uint64
inline constexpr size_t at_documents = 24;  // uint64
inline constexpr size_t at_vocab = 32;      // uint32
inline constexpr size_t at_made_by = 40;    // 24 bytes, padded with zeros

}  // namespace govtrain::data_format
