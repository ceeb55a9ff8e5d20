/*
 * Steps by a row of call frame information, and the expressions in one (DWARF 5, 2.5 and 6.4). An expression comes from
 * a module's table, which may be wrong: it reads memory within the caller's bounds alone, ends after EXPRESSION_STEPS
 * operations, and has EXPRESSION_DEPTH words.
 */
#include <string.h>

#include "stacks/cfi.h"

#define EXPRESSION_DEPTH 16
#define EXPRESSION_STEPS 256

/* Operations of expressions (DWARF 5, 7.7.1), as far as call frame information may have them. */
enum operation {
    OP_ADDRESS = 0x03,
    OP_DEREF = 0x06,
    OP_CONST_1U = 0x08,
    OP_CONST_1S,
    OP_CONST_2U,
    OP_CONST_2S,
    OP_CONST_4U,
    OP_CONST_4S,
    OP_CONST_8U,
    OP_CONST_8S,
    OP_CONST_U,
    OP_CONST_S,
    OP_DUP,
    OP_DROP,
    OP_OVER,
    OP_PICK,
    OP_SWAP,
    OP_ROTATE,
    OP_ABS = 0x19,
    OP_AND,
    OP_DIV,
    OP_MINUS,
    OP_MOD,
    OP_MUL,
    OP_NEG,
    OP_NOT,
    OP_OR,
    OP_PLUS,
    OP_PLUS_CONST,
    OP_SHL,
    OP_SHR,
    OP_SHRA,
    OP_XOR,
    OP_BRANCH,
    OP_EQ,
    OP_GE,
    OP_GT,
    OP_LE,
    OP_LT,
    OP_NE,
    OP_SKIP,
    OP_LITERAL_0 = 0x30,
    OP_LITERAL_31 = 0x4F,
    OP_REGISTER_0 = 0x70,
    OP_REGISTER_31 = 0x8F,
    OP_REGISTER_X = 0x92,
    OP_DEREF_SIZE = 0x94,
    OP_NOP = 0x96,
};

static bool read_memory(uint64_t address, size_t bytes, struct cfi_bounds bounds, uint64_t *value) {
    if (address == 0 || address < bounds.low || address > bounds.high || bounds.high - address < bytes) return false;
    *value = 0;
    memcpy(value, (const void *)address, bytes);
    return true;
}

/* How many words an operation needs on the expression's stack. Those that compute take them off, and put one value. */
static size_t operands(uint8_t operation) {
    switch (operation) {
        case OP_DEREF:
        case OP_DUP:
        case OP_DROP:
        case OP_ABS:
        case OP_NEG:
        case OP_NOT:
        case OP_PLUS_CONST:
        case OP_BRANCH:
        case OP_DEREF_SIZE: return 1;
        case OP_OVER:
        case OP_SWAP: return 2;
        case OP_ROTATE: return 3;
        default: return (operation >= OP_AND && operation <= OP_NE) ? 2 : 0;
    }
}

/* A number that stands in the expression, or that a register has: it is put on the stack. False for other operations.
 */
static bool constant(uint8_t operation, const uint8_t **at, const uint8_t *end, uint64_t *value) {
    if (operation >= OP_LITERAL_0 && operation <= OP_LITERAL_31) {
        *value = operation - (uint32_t)OP_LITERAL_0;
        return true;
    }
    switch (operation) {
        case OP_ADDRESS:
        case OP_CONST_8U:
        case OP_CONST_8S: *value = cfi_fixed(at, end, 8); return true;
        case OP_CONST_1U: *value = cfi_fixed(at, end, 1); return true;
        case OP_CONST_1S: *value = (uint64_t)(int64_t)(int8_t)cfi_fixed(at, end, 1); return true;
        case OP_CONST_2U: *value = cfi_fixed(at, end, 2); return true;
        case OP_CONST_2S: *value = (uint64_t)(int64_t)(int16_t)cfi_fixed(at, end, 2); return true;
        case OP_CONST_4U: *value = cfi_fixed(at, end, 4); return true;
        case OP_CONST_4S: *value = (uint64_t)(int64_t)(int32_t)cfi_fixed(at, end, 4); return true;
        case OP_CONST_U: *value = cfi_unsigned(at, end); return true;
        case OP_CONST_S: *value = (uint64_t)cfi_signed(at, end); return true;
        default: return false;
    }
}

static bool is_register(uint8_t operation) {
    return (operation >= OP_REGISTER_0 && operation <= OP_REGISTER_31) || operation == OP_REGISTER_X;
}

bool cfi_evaluate(const uint8_t *expression, int64_t length, const struct cfi_registers *registers,
    struct cfi_bounds bounds, uint64_t *result) {
    uint64_t stack[EXPRESSION_DEPTH] = {0};
    size_t depth = 0;
    const uint8_t *at = expression, *end = expression + length;
    if (*result != 0) stack[depth++] = *result; /* a register's expression begins with the CFA on the stack */
    for (int steps = 0; at < end; steps++) {
        if (steps == EXPRESSION_STEPS || depth == EXPRESSION_DEPTH) return false;
        uint8_t operation = *at++;
        if (constant(operation, &at, end, &stack[depth])) {
            depth++;
            continue;
        }
        if (is_register(operation)) {
            uint64_t number = operation == OP_REGISTER_X ? cfi_unsigned(&at, end) : operation - (uint32_t)OP_REGISTER_0;
            if (number >= CFI_REGISTERS) return false;
            stack[depth++] = registers->values[number] + (uint64_t)cfi_signed(&at, end);
            continue;
        }
        size_t takes = operands(operation);
        if (depth < takes) return false;
        uint64_t top = takes > 0 ? stack[depth - 1] : 0, second = takes > 1 ? stack[depth - 2] : 0;
        uint64_t value = 0;
        switch (operation) {
            case OP_DUP: stack[depth++] = top; continue;
            case OP_DROP: depth--; continue;
            case OP_OVER: stack[depth++] = second; continue;
            case OP_SWAP:
                stack[depth - 1] = second;
                stack[depth - 2] = top;
                continue;
            case OP_PICK: {
                uint64_t below = cfi_fixed(&at, end, 1);
                if (below >= depth) return false;
                stack[depth] = stack[depth - 1 - below];
                depth++;
                continue;
            }
            case OP_ROTATE:
                stack[depth - 1] = second;
                stack[depth - 2] = stack[depth - 3];
                stack[depth - 3] = top;
                continue;
            case OP_NOP: continue;
            case OP_BRANCH:
            case OP_SKIP: {
                int16_t jump = (int16_t)cfi_fixed(&at, end, 2);
                if (operation == OP_BRANCH) depth--;
                if (operation == OP_BRANCH && top == 0) continue;
                if (jump < expression - at || jump > end - at) return false;
                at += jump;
                continue;
            }
            case OP_DEREF:
                if (!read_memory(top, 8, bounds, &value)) return false;
                break;
            case OP_DEREF_SIZE: {
                uint64_t bytes = cfi_fixed(&at, end, 1);
                if (bytes == 0 || bytes > 8 || !read_memory(top, bytes, bounds, &value)) return false;
                break;
            }
            case OP_ABS: value = (int64_t)top < 0 ? -top : top; break;
            case OP_AND: value = second & top; break;
            case OP_DIV:
                if (top == 0 || (top == ~0ull && second == 1ull << 63)) return false;
                value = (uint64_t)((int64_t)second / (int64_t)top);
                break;
            case OP_MINUS: value = second - top; break;
            case OP_MOD:
                if (top == 0) return false;
                value = second % top;
                break;
            case OP_MUL: value = second * top; break;
            case OP_NEG: value = -top; break;
            case OP_NOT: value = ~top; break;
            case OP_OR: value = second | top; break;
            case OP_PLUS: value = second + top; break;
            case OP_PLUS_CONST: value = top + cfi_unsigned(&at, end); break;
            case OP_SHL: value = top < 64 ? second << top : 0; break;
            case OP_SHR: value = top < 64 ? second >> top : 0; break;
            case OP_SHRA: value = (uint64_t)((int64_t)second >> (top < 64 ? top : 63)); break;
            case OP_XOR: value = second ^ top; break;
            case OP_EQ: value = second == top; break;
            case OP_GE: value = (int64_t)second >= (int64_t)top; break;
            case OP_GT: value = (int64_t)second > (int64_t)top; break;
            case OP_LE: value = (int64_t)second <= (int64_t)top; break;
            case OP_LT: value = (int64_t)second < (int64_t)top; break;
            case OP_NE: value = second != top; break;
            default: return false;
        }
        depth -= takes;
        stack[depth++] = value;
    }
    if (depth == 0) return false;
    *result = stack[depth - 1];
    return true;
}

bool cfi_step(const struct cfi_row *row, struct cfi_registers *registers, struct cfi_bounds bounds) {
    uint64_t cfa = 0;
    if (row->cfa_expression != NULL) {
        if (!cfi_evaluate(row->cfa_expression, row->cfa_offset, registers, bounds, &cfa)) return false;
    } else {
        if (row->cfa_register >= CFI_REGISTERS) return false;
        cfa = registers->values[row->cfa_register] + (uint64_t)row->cfa_offset;
    }
    struct cfi_registers caller = *registers;
    caller.values[DWARF_SP] = cfa; /* by the ABI, if no rule says otherwise */
    for (uint32_t i = 0; i < CFI_REGISTERS; i++) {
        const struct cfi_rule *rule = &row->registers[i];
        uint64_t address = cfa;
        switch (rule->kind) {
            case CFI_OFFSET:
                if (!read_memory(cfa + (uint64_t)rule->value, 8, bounds, &caller.values[i])) return false;
                break;
            case CFI_VALUE_OFFSET: caller.values[i] = cfa + (uint64_t)rule->value; break;
            case CFI_REGISTER:
                if ((uint64_t)rule->value >= CFI_REGISTERS) return false;
                caller.values[i] = registers->values[rule->value];
                break;
            case CFI_EXPRESSION:
            case CFI_VALUE_EXPRESSION:
                if (!cfi_evaluate(rule->expression, rule->value, registers, bounds, &address)) return false;
                if (rule->kind == CFI_VALUE_EXPRESSION) caller.values[i] = address;
                else if (!read_memory(address, 8, bounds, &caller.values[i])) return false;
                break;
            default: break;
        }
    }
    caller.values[DWARF_PC] = machine_strip(caller.values[row->return_register]);
    *registers = caller;
    return true;
}
