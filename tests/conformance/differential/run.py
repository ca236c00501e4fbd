#!/usr/bin/env python3
"""run.py CORTEN: all cases; fails when one differs that known-differences.tsv does not name. The last line counts."""
import os, subprocess, sys, tempfile

here = os.path.dirname(os.path.abspath(__file__))
who = 'all' if os.geteuid() == 0 else 'user'
known = {}
for line in open(f'{here}/known-differences.tsv'):
    if line.startswith('#') or not line.strip(): continue
    name, scope, why = line.rstrip('\n').split('\t')
    if scope in ('all', who): known[name] = why

with tempfile.TemporaryDirectory() as place:
    env = {**os.environ, 'BASES': f'{place}/bases', 'CORTEN_STORE': f'{place}/store', 'PYTHONDONTWRITEBYTECODE': '1'}
    check = subprocess.run([sys.executable, f'{here}/diff.py', 'check', '--corten', sys.argv[1], '--jobs', '2'], stdout=subprocess.PIPE, text=True, env=env)
    subprocess.run([sys.argv[1], 'prune', '--everything', '--force'], stdout=subprocess.DEVNULL, env=env, check=True)
lines = check.stdout.splitlines()
failed = {l for l in lines if l and not l.startswith(' ') and os.path.isdir(f'{here}/cases/{l}')}
if not lines or ' passed, ' not in lines[-1]:
    sys.exit(f'the cases did not run to their end:\n{check.stdout[-3000:]}')
new = sorted(failed - known.keys())
if new:
    print(check.stdout)
    print('cases that differ and are not in known-differences.tsv:', *new, sep='\n  ')
for name in sorted(known.keys() - failed): print(f'{name}: is the same now; take it out of known-differences.tsv')
print(f'{lines[-1]} ({len(failed & known.keys())} known)')
sys.exit(1 if new else 0)
