#include "kernels/simt/traffic.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "kernels/simt/async_copy.h"
#include "kernels/simt/block.h"

namespace govtrain::simt {
namespace {

struct Note {
  const void* site;
  uintptr_t address;
  uint32_t bytes;
  uint32_t turn;  // how often this thread had come to the site
  Space space;
  Access access;
  bool matrix;
};

using Notes = std::vector<Note>;

std::vector<Notes>& notes() {
  static thread_local std::vector<Notes> n(1024);
  return n;
}

int64_t sectors(const std::vector<const Note*>& group) {
  std::vector<uintptr_t> touched;
  for (const Note* n : group) {
    for (uintptr_t s = n->address / 32; s <= (n->address + n->bytes - 1) / 32; ++s) touched.push_back(s);
  }
  std::sort(touched.begin(), touched.end());
  return std::unique(touched.begin(), touched.end()) - touched.begin();
}

// Passes beyond the first: lanes of one pass (all at up to 4 bytes, half a warp at 8, a quarter at 16) may not want
// different words of one bank.
int64_t conflicts(const std::vector<const Note*>& group) {
  const size_t lanes = 32 / std::max<size_t>(1, group[0]->bytes / 4);
  int64_t extra = 0;
  for (size_t first = 0; first < group.size(); first += lanes) {
    std::vector<uintptr_t> words;
    for (size_t i = first; i < std::min(group.size(), first + lanes); ++i) {
      for (uintptr_t w = group[i]->address / 4; w <= (group[i]->address + group[i]->bytes - 1) / 4; ++w)
        words.push_back(w);
    }
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    int per_bank[32] = {};
    int worst = 1;
    for (const uintptr_t w : words) worst = std::max(worst, ++per_bank[w % 32]);
    extra += worst - 1;
  }
  return extra;
}

void count_group(const std::vector<const Note*>& group, Counts& c) {
  const Note& n = *group[0];
  if (n.space == Space::shared) {
    ++c.shared_accesses;
    if (!n.matrix) c.bank_conflicts += conflicts(group);
    return;
  }
  const int64_t bytes = 32 * sectors(group);
  if (n.access != Access::write) c.global_read += bytes;
  if (n.access != Access::read) c.global_written += bytes;
}

void number_turns(Notes& lane) {
  std::unordered_map<const void*, uint32_t> turns;
  for (Note& n : lane) n.turn = turns[n.site]++;
}

}  // namespace

void note_traffic(const void* site, const void* p, size_t bytes, Space space, Access access, bool matrix) {
  notes()[static_cast<size_t>(thread_number())].push_back(
      {site, reinterpret_cast<uintptr_t>(p), static_cast<uint32_t>(bytes), 0, space, access, matrix});
}

void flush_traffic(int threads, Counts& counts) {
  counts.fma += fma_count;
  fma_count = 0;
  auto& all = notes();
  std::vector<const Note*> group;
  for (int first = 0; first < threads; first += 32) {
    const int lanes = std::min(32, threads - first);
    const auto lane = [&](int l) -> Notes& { return all[static_cast<size_t>(first + l)]; };
    bool alike = true;
    for (int l = 1; l < lanes && alike; ++l) {
      alike = std::equal(lane(0).begin(), lane(0).end(), lane(l).begin(), lane(l).end(),
                         [](const Note& a, const Note& b) { return a.site == b.site; });
    }
    if (alike) {  // the lanes went the same way: the i-th notes are one request
      for (size_t i = 0; i < lane(0).size(); ++i) {
        group.clear();
        for (int l = 0; l < lanes; ++l) group.push_back(&lane(l)[i]);
        count_group(group, counts);
      }
    } else {
      std::vector<const Note*> sorted;
      for (int l = 0; l < lanes; ++l) {
        number_turns(lane(l));
        for (const Note& n : lane(l)) sorted.push_back(&n);
      }
      std::stable_sort(sorted.begin(), sorted.end(), [](const Note* a, const Note* b) {
        return a->site != b->site ? std::less<>()(a->site, b->site) : a->turn < b->turn;
      });
      for (size_t i = 0; i < sorted.size();) {
        group.clear();
        const Note* head = sorted[i];
        while (i < sorted.size() && sorted[i]->site == head->site && sorted[i]->turn == head->turn) {
          group.push_back(sorted[i++]);
        }
        count_group(group, counts);
      }
    }
    for (int l = 0; l < lanes; ++l) lane(l).clear();
  }
}

void drop_thread_state(int threads) {
  for (int t = 0; t < threads; ++t) notes()[static_cast<size_t>(t)].clear();
  drop_copies(threads);
}

}  // namespace govtrain::simt
