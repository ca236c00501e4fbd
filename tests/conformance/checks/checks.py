#!/usr/bin/env python3
"""What BuildKit says about Dockerfiles without building them: --call=check, outline, targets.

  checks.py record ADDRESS RECORDER   asks a buildkitd (through the program in recorder/) and writes expected/
  checks.py check CORTEN              asks corten and compares; the last line counts

cases/*.txt hold cases: `=== title`, lines `@target NAME`, `@arg K=V`, `@calls NAME ...` (lint when there is none), then files
`--- NAME` with their text. Images bb, cfg, onb are those of ../bases.py."""
import concurrent.futures, glob, json, os, subprocess, sys, tempfile

# Different on purpose, with the reason.
KNOWN = {'errors/no stage (lint)': 'the place of the last instruction is told, BuildKit has none',
         'errors/substitution (lint)': 'BuildKit warns that x is not defined, and then fails because x is not defined'}
HERE = os.path.dirname(os.path.abspath(__file__))


def cases():
    for path in sorted(glob.glob(f'{HERE}/cases/*.txt')):
        area, case, name = os.path.basename(path)[:-4], None, None
        for line in open(path, encoding='utf-8', newline=''):
            if line.startswith('=== '):
                if case: yield area, case
                case, name = {'title': line[4:].strip(), 'target': None, 'args': {}, 'calls': ['lint'], 'files': {}}, None
            elif line.startswith('@'):
                key, value = line[1:].strip().split(' ', 1)
                if key == 'target': case['target'] = value
                elif key == 'arg': case['args'].__setitem__(*value.split('=', 1))
                elif key == 'calls': case['calls'] = value.split()
                else: sys.exit(f'{path}: {line}')
            elif line.startswith('--- '):
                name = line[4:].strip()
                case['files'][name] = ''
            else:
                case['files'][name] += line
        if case: yield area, case


def write_files(case, directory):
    os.makedirs(directory)
    for name, text in case['files'].items():
        with open(f'{directory}/{name}', 'w', encoding='utf-8', newline='') as f: f.write(text)


def bases(place):
    subprocess.run([sys.executable, f'{HERE}/../bases.py', place], check=True, stdout=subprocess.DEVNULL)
    return {n: json.load(open(f'{place}/{n}/index.json'))['manifests'][0]['digest'] for n in ('bb', 'cfg', 'onb')}


def shrink(call, answer):
    """What is compared: the parsed JSON without the sources, the text, the status."""
    if 'error' in answer: return {'error': answer['error']}
    told = json.loads(answer['result.json'])
    told.pop('sources', None)
    settle(told)
    kept = {'json': told, 'text': answer['result.txt'].splitlines()}
    if call == 'lint': kept['status'] = int(answer['result.statuscode'])
    return kept


def settle(told):
    """Go's maps have no order: what BuildKit sorts by line alone, and the rules in a message, get one."""
    for key in ('args', 'secrets', 'ssh'):
        told.get(key, []).sort(key=lambda one: (one['location']['ranges'][0]['start']['line'], one['name']))
    if 'buildError' in told:
        before, colon, rules = told['buildError']['message'].partition('for rules: ')
        told['buildError']['message'] = before + colon + ', '.join(sorted(rules.split(', ')))
    for warnings in [told.get('warnings') or []]:
        # the names that one instruction looks up
        for i in range(1, len(warnings)):
            for j in range(i, 0, -1):
                a, b = warnings[j - 1], warnings[j]
                if a['ruleName'] != b['ruleName'] or a['location'] != b['location'] or a['detail'] <= b['detail']: break
                warnings[j - 1], warnings[j] = b, a


def record(address, recorder):
    with tempfile.TemporaryDirectory() as place:
        digests = bases(f'{place}/bases')
        asked = []
        for number, (area, case) in enumerate(cases()):
            write_files(case, f'{place}/{number}')
            for call in case['calls']:
                options = {'requestid': f'frontend.{call}', 'frontend.caps': 'moby.buildkit.frontend.subrequests'}
                if case['target']: options['target'] = case['target']
                for k, v in case['args'].items(): options[f'build-arg:{k}'] = v
                for n, d in digests.items(): options[f'context:{n}'] = f'oci-layout://{n}@{d}'
                asked.append((area, case['title'], call, {'directory': f'{place}/{number}', 'options': options}))
        got = subprocess.run([recorder, address, f'{place}/bases'], input=''.join(json.dumps(a[3]) + '\n' for a in asked),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout.splitlines()
    expected = {}
    for (area, title, call, _), line in zip(asked, got, strict=True):
        expected.setdefault(area, {}).setdefault(title, {})[call] = shrink(call, json.loads(line))
    os.makedirs(f'{HERE}/expected', exist_ok=True)
    for area, told in expected.items():
        with open(f'{HERE}/expected/{area}.json', 'w', encoding='utf-8') as f:
            json.dump(told, f, indent=1, ensure_ascii=False)
            f.write('\n')
    print(f'{len(got)} answers')


def ask_corten(corten, directory, case, call, place):
    name = {'lint': 'check'}.get(call, call)
    command = [corten, 'build']
    if case['target']: command += ['--target', case['target']]
    for k, v in case['args'].items(): command += ['--build-arg', f'{k}={v}']
    for n in ('bb', 'cfg', 'onb'): command += ['--build-context', f'{n}=oci-layout://{place}/bases/{n}']
    def run(extra):
        return subprocess.run(command + extra + [directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, 'CORTEN_STORE': f'{place}/store', 'NO_COLOR': '1'})
    as_json, as_text = run([f'--call={name},format=json']), run([f'--call={name}'])
    if not as_json.stdout: return {'error': as_json.stderr}
    told = json.loads(as_json.stdout)
    told.pop('sources', None)
    settle(told)
    text = as_text.stdout.splitlines()
    got = {'json': told, 'text': text}
    if call == 'lint':
        # buildx's own lines around BuildKit's text
        count = len(told['warnings'] or [])
        head = {0: None, 1: 'Check complete, 1 warning has been found!'}.get(count, f'Check complete, {count} warnings have been found!')
        if count == 0 and 'buildError' not in told: head = 'Check complete, no warnings found.'
        if head: assert text[:1] == [head], (head, text[:1])
        got['text'] = text[1:] if head else text
        if 'buildError' in told and count: got['text'] = got['text'][:-1]
        got['status'] = as_json.returncode
    return got


def differences(want, got):
    if 'error' in want or 'error' in got:
        # The essential words: what stands behind the last wrapper that only one of the two has.
        words = want.get('error', '').replace('failed to solve: ', '').replace('rpc error: code = Unknown desc = ', '')
        for wrapper in ('Unknown: ', 'InvalidArgument: '): words = words.removeprefix(wrapper)
        if 'error' in want and 'error' in got and words in got['error']: return []
        return [f'error: want {want}', f'       got  {got}']
    found = []
    for key in want:
        # The text is in the same order as the JSON, or in none.
        if key == 'text' and sorted(want[key]) == sorted(got[key]): continue
        if want[key] != got.get(key): found += [f'{key}: want {json.dumps(want[key])}', f'{" " * len(key)}  got  {json.dumps(got.get(key))}']
    return found


def check(corten, only):
    bad = count = 0
    with tempfile.TemporaryDirectory() as place:
        bases(f'{place}/bases')
        def one(numbered):
            number, (area, case) = numbered
            if only and not f'{area}/{case["title"]}'.startswith(only): return []
            want = json.load(open(f'{HERE}/expected/{area}.json', encoding='utf-8'))[case['title']]
            write_files(case, f'{place}/{number}')
            return [(f'{area}/{case["title"]} ({call})', differences(want[call], ask_corten(corten, f'{place}/{number}', case, call, place)))
                    for call in case['calls']]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for answers in pool.map(one, enumerate(cases())):
                for name, found in answers:
                    count += 1
                    if bool(found) == (name in KNOWN): continue
                    found = found or ['is the same now; take it out of KNOWN']
                    bad += 1
                    print(name, *found, sep='\n  ')
        subprocess.run([corten, 'prune', '--everything', '--force'], stdout=subprocess.DEVNULL, env={**os.environ, 'CORTEN_STORE': f'{place}/store'}, check=True)
    print(f'{count - bad} passed, {bad} failed')
    return 1 if bad or not count else 0


if __name__ == '__main__':
    if sys.argv[1:2] == ['record'] and len(sys.argv) == 4: record(*sys.argv[2:])
    elif sys.argv[1:2] == ['check'] and len(sys.argv) >= 3: sys.exit(check(os.path.abspath(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ''))
    else: sys.exit(__doc__)
